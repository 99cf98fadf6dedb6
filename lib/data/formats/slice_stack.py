"""Assemble frames to a volume by their positions along the normal of their planes, in whatever order the files come."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import Finding
from lib.data.formats.dicom_frames import PHASE_TAGS, REMEDY, STACK_TAGS, Frame
from lib.data.volumes.geometry import LPS_TO_RAS

UNEVEN_FRACTION = 0.1
"""Largest difference of a slice distance from the median distance, as a fraction of the median, of an even series."""
MIN_UNEVEN_MM = 0.05
MAX_TILT_MM_PER_MM = 0.02
"""Sideways shift per mm along the slice normal above which the gantry was tilted."""
MAX_DRIFT = 0.25
"""Largest distance of a slice from its place on an even grid, in slice distances; a larger one is an uneven series."""
MAX_BEND_PIXELS = 0.5
"""Largest sideways distance of a slice from the line through the first and the last one, in pixels."""
MAX_TILT_DEGREES = 45.0
MAX_STEP_RATIO = 1.5
"""Largest ratio of a slice distance to the regular distance beside it; a larger one is a missing slice."""
RUN_STEPS = 3
"""Number of equal slice distances in sequence that make a distance regular."""
SAME_POSITION_MM = 0.01
SAME_GEOMETRY = 1e-3
"""Largest difference of cosines, and of pixel spacings in mm, within one stack."""
MAX_SCOUTS, MIN_SCOUT_DEGREES = 3, 30.0
"""Largest number of frames beside the main stack that are left out as localizers though they are not marked as such,
and the least angle between their planes and the slices."""
MAX_PHASE_SHIFT = 0.05
"""Largest distance of phases of one slice along the normal, as a fraction of the largest slice distance."""

Positions = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Frames in the order of their positions, and the grid that they lie on.

    Args:
        order: Index of the frame of each slice.
        affine: ``(4, 4)``, voxel index to RAS+ mm; the first and the last slice are placed exactly.
        origins: Position of the first voxel of each slice, ``(n, 3)`` in RAS+ mm, if the slices are not on a grid with
            right angles and even spacing; None otherwise.
        notes: Facts about the series that its users should know.
    """

    order: tuple[int, ...]
    affine: NDArray[np.float64]
    origins: Positions | None = None
    notes: tuple[str, ...] = ()


def assemble(frames: Sequence[Frame], name: str) -> tuple[SliceStack | None, list[Finding]]:
    """Return the stack of the frames of one series, or the faults for which there is none.

    Args:
        frames: At least two frames, in any order.
        name: Name of the series in messages.
    """
    known = [f.geometry for f in frames if f.geometry is not None and np.isfinite(f.geometry).all()]
    if len(known) < len(frames):
        lost = len(frames) - len(known)
        reason = f"{lost} of {len(frames)} slices in '{name}' lack position, orientation or pixel spacing."
        return None, [Finding("BAD_AFFINE", reason, REMEDY)]
    geometry = np.array(known)
    main, scouts, fault = _main_stack(frames, geometry, name)
    if fault is not None:
        return None, [fault]
    along, down = geometry[main[0], 3:6], geometry[main[0], 6:9]
    normal = np.cross(along, down)
    if not np.isclose(np.linalg.norm(normal), 1, atol=1e-2):
        reason = f"The row and column directions of the slices in '{name}' are not at right angles."
        return None, [Finding("BAD_AFFINE", reason, REMEDY)]
    depth_mm = geometry[main, :3] @ (normal / np.linalg.norm(normal))
    by_depth = np.argsort(depth_mm, kind="stable")
    order, depth_mm = [main[i] for i in by_depth], depth_mm[by_depth]
    positions = geometry[order, :3]
    stacked = [frames[i] for i in order]
    faults = (
        list(_repeats(stacked, depth_mm, name))
        or list(_interleaved(stacked, depth_mm, name))
        or [
            *_missing(stacked, depth_mm, name),
            *_steep(positions, depth_mm, name),
        ]
    )
    if faults:
        return None, faults
    pixel_mm = float(geometry[order[0], 9:11].min())
    notes = [*scouts, *_tilt(positions, depth_mm, pixel_mm), *_uneven(depth_mm)]
    affine = _affine(geometry[order[0]], positions)
    straight = len(notes) == len(scouts)
    origins = None if straight else np.asarray(positions * np.diag(LPS_TO_RAS)[:3], np.float64)
    return SliceStack(tuple(order), affine, origins, tuple(notes)), []


def _affine(first: NDArray[np.float64], positions: Positions) -> NDArray[np.float64]:
    """Return the RAS+ affine of slices at `positions`; a single slice gets a thickness of 1 mm."""
    along, down = first[3:6], first[6:9]
    step = np.cross(along, down) if len(positions) == 1 else (positions[-1] - positions[0]) / (len(positions) - 1)
    lps = np.eye(4)
    lps[:3] = np.stack([along * first[10], down * first[9], step, positions[0]], 1)
    return LPS_TO_RAS @ lps


def _main_stack(
    frames: Sequence[Frame], geometry: NDArray[np.float64], name: str
) -> tuple[list[int], list[str], Finding | None]:
    """Return the frames of the largest stack of parallel slices of one size, and a note about localizers beside it."""
    stacks: list[list[int]] = []
    for index, frame in enumerate(frames):
        for stack in stacks:
            same_size = (frame.size, frame.components) == (frames[stack[0]].size, frames[stack[0]].components)
            if same_size and np.abs(geometry[index, 3:] - geometry[stack[0], 3:]).max() <= SAME_GEOMETRY:
                stack.append(index)
                break
        else:
            stacks.append([index])
    if len(stacks) == 1:
        return stacks[0], [], None
    localizer = ["LOCALIZER" in frame.stack.get("ImageType", "").upper() for frame in frames]
    main = max(stacks, key=lambda stack: (not localizer[stack[0]], len(stack)))
    others = [index for stack in stacks if stack is not main for index in stack]
    declared = all(localizer[index] for index in others)
    turned = all(_degrees_between(geometry[index], geometry[main[0]]) > MIN_SCOUT_DEGREES for index in others)
    if declared or (turned and len(others) <= MAX_SCOUTS < len(main)):
        noun = "localizer was" if len(others) == 1 else "localizers were"
        return main, [f"{len(others)} {noun} left out of the series; {len(main)} slices remain."], None
    sizes = ", ".join(f"{len(stack)} slices of {frames[stack[0]].size}" for stack in stacks[:4])
    code = "BAD_AFFINE" if len({(f.size, f.components) for f in frames}) == 1 else "WRONG_DIMENSION"
    reason = f"'{name}' holds {len(stacks)} stacks that differ in orientation, pixel spacing or size: {sizes}."
    return [], [], Finding(code, reason, "Send each stack as a series, or in a folder, of its own.")


def _degrees_between(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the angle between the planes of two frames."""
    normals = [np.cross(frame[3:6], frame[6:9]) for frame in (one, other)]
    lengths = float(np.prod([np.linalg.norm(normal) for normal in normals]))
    return float(np.rad2deg(np.arccos(min(1.0, abs(float(normals[0] @ normals[1])) / max(lengths, 1e-9)))))


def _repeats(frames: Sequence[Frame], depth_mm: Positions, name: str) -> Iterator[Finding]:
    """Find positions with several frames: phases or echoes, or slices that were stored twice."""
    places, counts = _places(depth_mm, SAME_POSITION_MM)
    if len(counts) == len(frames):
        # Phases of a moving table or a breathing patient are not quite at the same position.
        shift_mm = MAX_PHASE_SHIFT * float(np.diff(depth_mm).max())
        shifted, count = _places(depth_mm, shift_mm)
        spread_mm = max(float(np.ptp(depth_mm[shifted == place])) for place in count)
        several = sum(n > 1 for n in count.values())
        if len(count) > 1 and several >= len(count) / 2 and spread_mm <= shift_mm:
            places, counts = shifted, count
    repeated = [place for place, count in counts.items() if count > 1]
    if not repeated:
        return
    if len(repeated) == len(counts) and len(set(counts.values())) == 1:
        phases = counts[repeated[0]]
        how = next((text for tag in STACK_TAGS if (text := _splits_by(frames, places, tag, phases))), "")
        numbers = [[f.number for f in frames][k::phases] for k in range(phases)]
        if not how and all(number is not None for run in numbers for number in run):
            runs = [f"{min(run)} to {max(run)}" for run in numbers]  # type: ignore[type-var]
            how = f"InstanceNumber {', '.join(sorted(runs))}"
        reason = f"'{name}' holds {phases} frames at each of {len(counts)} positions: several phases or echoes."
        remedy = f"Send each phase as a series, or in a folder, of its own{f'; they differ in {how}' if how else ''}."
        yield Finding("MANY_PHASES", reason, remedy)
        return
    first = next(k for k in range(1, len(places)) if places[k] == places[k - 1])
    reason = (
        f"{len(repeated)} of {len(counts)} positions in '{name}' have more than one slice, for example "
        f"'{frames[first - 1].path.name}' and '{frames[first].path.name}'."
    )
    yield Finding("DOUBLED_SLICES", reason, "Remove the slices that were stored twice, or fetch the series again.")


def _interleaved(frames: Sequence[Frame], depth_mm: Positions, name: str) -> Iterator[Finding]:
    """Find phases or echoes whose slices lie between each other's: a tag has several values over the same range."""
    for tag in PHASE_TAGS:
        values = np.array([frame.stack.get(tag, "") for frame in frames])
        ranges = [(depth_mm[values == one].min(), depth_mm[values == one].max()) for one in np.unique(values)]
        shared_mm = min(high for _, high in ranges) - max(low for low, _ in ranges)
        if len(ranges) > 1 and shared_mm > 0.5 * (depth_mm[-1] - depth_mm[0]):
            reason = f"The slices of '{name}' are of {len(ranges)} phases or echoes, which differ in {tag}."
            yield Finding("MANY_PHASES", reason, "Send each phase as a series, or in a folder, of its own.")
            return


def _places(depth_mm: Positions, apart_mm: float) -> tuple[NDArray[np.int_], Counter[int]]:
    """Return the number of the position of each frame, in order, and the number of frames at each position."""
    places = np.cumsum(np.append(0, np.diff(depth_mm) > apart_mm))
    return places, Counter(places.tolist())


def _splits_by(frames: Sequence[Frame], places: NDArray[np.int_], tag: str, phases: int) -> str:
    """Return the tag with its values if it separates the frames of every position, else an empty text."""
    values = [frame.stack.get(tag) for frame in frames]
    pairs = set(zip(places.tolist(), values, strict=True))
    if None in values or len(set(values)) != phases or len(pairs) < len(frames):
        return ""
    return f"{tag} ({', '.join(sorted({str(value) for value in values}))})"


def _regular(steps: Positions) -> bool:
    median = float(np.median(steps))
    return bool((np.abs(steps - median) <= max(UNEVEN_FRACTION * median, MIN_UNEVEN_MM)).all())


def _missing(frames: Sequence[Frame], depth_mm: Positions, name: str) -> Iterator[Finding]:
    """Find slice distances that only missing slices explain.

    A distance is regular if it occurs several times in sequence, as where a protocol changes its spacing. A missing
    slice is a distance well above the regular distances on both sides, or one that the slice numbers skip.
    """
    steps = np.diff(depth_mm)
    if _regular(steps):
        return
    regular = _nearest_regular(steps)
    wide = {k for k in range(len(steps)) if steps[k] > MAX_STEP_RATIO * regular[k]}
    numbers = [frame.number for frame in frames]
    if None not in numbers:
        skipped = np.abs(np.diff(np.array(numbers, np.int64)))
        if np.mean(skipped == 1) >= 0.5:  # numbers count along the stack
            for k in range(len(steps)):
                if k not in wide and skipped[k] > 1 and steps[k] > MAX_STEP_RATIO * steps.min():
                    wide.add(k)
                    regular[k] = steps.min()
    if wide:
        worst = max(wide, key=lambda k: float(steps[k]))
        reason = (
            f"{len(wide)} of {len(steps)} slice distances in '{name}' are too large: {steps[worst]:.2f} mm between "
            f"slices {worst} and {worst + 1}, where {regular[worst]:.2f} mm is regular."
        )
        yield Finding("MISSING_SLICES", reason, "Add the missing slices: fetch the complete series again.")


def _nearest_regular(steps: Positions) -> Positions:
    """Return the larger of the regular distances before and after each distance; the median if none is regular."""
    runs: list[list[int]] = []
    for k, step in enumerate(steps):
        allowed = max(UNEVEN_FRACTION * step, MIN_UNEVEN_MM)
        if runs and abs(steps[runs[-1][0]] - step) <= allowed:
            runs[-1].append(k)
        else:
            runs.append([k])
    regular = [run for run in runs if len(run) >= RUN_STEPS]
    if not regular:
        return np.full(len(steps), np.median(steps))
    inside = {k for run in regular for k in run}
    nearest = steps.copy()
    for k in range(len(steps)):
        if k not in inside:
            before = [run for run in regular if run[-1] < k][-1:]
            after = [run for run in regular if run[0] > k][:1]
            nearest[k] = max(steps[run[0]] for run in (*before, *after))
    return nearest


def _sideways(positions: Positions, depth_mm: Positions) -> float:
    """Return the shift of the last slice against the first, in the plane of the slices, in mm."""
    run = np.linalg.norm(positions[-1] - positions[0])
    return float(np.sqrt(max(run**2 - (depth_mm[-1] - depth_mm[0]) ** 2, 0.0)))


def _degrees(positions: Positions, depth_mm: Positions) -> float:
    return float(np.rad2deg(np.arctan2(_sideways(positions, depth_mm), depth_mm[-1] - depth_mm[0])))


def _steep(positions: Positions, depth_mm: Positions, name: str) -> Iterator[Finding]:
    if (degrees := _degrees(positions, depth_mm)) > MAX_TILT_DEGREES:
        reason = f"The slices in '{name}' shift sideways at {degrees:.0f} degrees to their normal."
        yield Finding("BAD_AFFINE", reason, "Check that the slices belong to one stack; send each stack on its own.")


def _tilt(positions: Positions, depth_mm: Positions, pixel_mm: float) -> Iterator[str]:
    depth = float(depth_mm[-1] - depth_mm[0])
    straight = positions[0] + np.outer((depth_mm - depth_mm[0]) / depth, positions[-1] - positions[0])
    bent = float(np.linalg.norm(positions - straight, axis=1).max())
    if _sideways(positions, depth_mm) > MAX_TILT_MM_PER_MM * depth:
        degrees = _degrees(positions, depth_mm)
        yield f"The gantry was tilted by {degrees:.1f} degrees: the network saw the series on a straight grid."
    elif bent > MAX_BEND_PIXELS * pixel_mm:
        yield f"Slices are shifted sideways by up to {bent:.1f} mm: the network saw the series on a straight grid."


def _uneven(depth_mm: Positions) -> Iterator[str]:
    steps = np.diff(depth_mm)
    # Small differences of the steps may add up over many slices.
    drift_mm = float(np.abs(depth_mm - np.linspace(depth_mm[0], depth_mm[-1], len(depth_mm))).max())
    if not _regular(steps) or drift_mm > MAX_DRIFT * float(np.median(steps)):
        yield (
            f"The slices are {steps.min():.2f} to {steps.max():.2f} mm apart: the network saw the series on a grid "
            f"with even spacing, and files with one spacing place slices up to {drift_mm:.1f} mm off along the stack."
        )
