"""Random DICOM series, and a slow reference that places every pixel by the tags of its frame alone."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lib.data.formats.dicom_frames import Frame

SIZE = (5, 4)
"""Columns and rows of a slice."""


@dataclass
class Series:
    """Frames in random order, the fault that was built in (a code, or empty), and whether the grid is regular."""

    frames: list[Frame]
    fault: str
    regular: bool
    scouts: int = 0
    kinds: list[str] = field(default_factory=list)


def place(frame: Frame, column: int, row: int) -> np.ndarray:
    """Return the position of a pixel in RAS+ mm by the standard's equation (PS3.3 C.7.6.2.1.1), without its stack."""
    assert frame.geometry is not None
    position, along, down = frame.geometry[:3], frame.geometry[3:6], frame.geometry[6:9]
    lps = position + along * frame.geometry[10] * column + down * frame.geometry[9] * row
    return lps * [-1, -1, 1]


def random_series(seed: int) -> Series:
    """Return a series of 2 to 24 slices: any orientation and order, and at most one fault."""
    rng = np.random.default_rng(seed)
    along, down, normal = np.linalg.qr(rng.normal(size=(3, 3)))[0].T
    normal = np.cross(along, down)
    spacing = rng.uniform(0.3, 2, 2)
    count, step = int(rng.integers(2, 25)), float(rng.uniform(0.5, 6))
    kinds = []
    steps = np.full(count - 1, step)
    if count >= 10 and rng.random() < 0.3:
        kinds.append("zones")
        steps[count // 2 :] = step * rng.uniform(1.5, 3) if rng.random() < 0.5 else step / rng.uniform(1.5, 3)
        steps[count // 2] = min(steps) * rng.uniform(0.3, 1.0)
    elif rng.random() < 0.3:
        kinds.append("rounded positions")
        steps = steps + rng.uniform(-0.02, 0.02, count - 1) * step
    lean = np.zeros(2)
    if rng.random() < 0.4:
        kinds.append("tilt")
        angle = rng.uniform(0, 2 * np.pi)
        lean = np.tan(np.deg2rad(rng.uniform(3, 35))) * np.array([np.cos(angle), np.sin(angle)])
    depth = np.append(0, np.cumsum(steps))
    origins = rng.uniform(-200, 200, 3) + np.outer(depth, normal + lean[0] * along + lean[1] * down)
    numbers = np.arange(1, count + 1)[:: rng.choice([-1, 1])] if rng.random() < 0.7 else [None] * count
    frames = [
        Frame(
            path=Path(f"{k}.dcm"),
            index=0,
            series="1",
            modality="CT",
            size=SIZE,
            frames=1,
            components=1,
            bytes_per_voxel=2,
            geometry=np.concatenate([origins[k], along, down, spacing[::-1]]),
            uid=str(k),
            number=None if numbers[k] is None else int(numbers[k]),  # type: ignore[arg-type]
        )
        for k in range(count)
    ]
    series = Series(frames, "", regular=not {"zones", "tilt"} & set(kinds), kinds=kinds)
    _add_fault(series, rng)
    if not series.fault and count > 4 and rng.random() < 0.2:
        turned = np.concatenate([origins[0], along, normal, spacing[::-1]])
        series.scouts = int(rng.integers(1, 3))
        series.frames += [replace(frames[0], geometry=turned, path=Path(f"scout{n}.dcm")) for n in range(series.scouts)]
    if rng.random() < 0.3:
        kinds.append("one file")
        whole = len(series.frames)
        series.frames = [replace(f, path=Path("all.dcm"), index=n, frames=whole) for n, f in enumerate(series.frames)]
    rng.shuffle(series.frames)  # type: ignore[arg-type]
    return series


def _add_fault(series: Series, rng: np.random.Generator) -> None:
    frames, count = series.frames, len(series.frames)
    fault = rng.choice(["", "", "", "gap", "double", "phases", "no position", "steep"])
    if fault == "gap" and count >= 8 and "zones" not in series.kinds:
        first = int(rng.integers(2, count - 3))
        series.frames = frames[:first] + frames[first + int(rng.integers(1, 3)) :]
        series.fault = "MISSING_SLICES"
    elif fault == "double" and count > 2:
        series.frames = [*frames, replace(frames[int(rng.integers(count))], path=Path("copy.dcm"))]
        series.fault = "DOUBLED_SLICES"
    elif fault == "phases":
        series.frames = frames + [replace(frame, path=Path(f"second{frame.path}")) for frame in frames]
        series.fault = "MANY_PHASES"
    elif fault == "no position":
        series.frames = [replace(frames[0], geometry=None), *frames[1:]]
        series.fault = "BAD_AFFINE"
    elif fault == "steep" and not series.kinds:
        geometry = [frame.geometry for frame in frames if frame.geometry is not None]
        shift = [np.linalg.norm(one[:3] - geometry[0][:3]) * 2 * one[3:6] for one in geometry]
        moved = [np.concatenate([one[:3] + by, one[3:]]) for one, by in zip(geometry, shift, strict=True)]
        series.frames = [replace(frame, geometry=one) for frame, one in zip(frames, moved, strict=True)]
        series.fault = "BAD_AFFINE"
