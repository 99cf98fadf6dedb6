"""Read a DICOM SEG of any program as a label on the grid of its series, frame by frame by position."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lib.data.findings import InputRejected, reject
from lib.data.formats.dicom import series_slices
from lib.data.formats.dicom_frames import Frame, frame_geometry, frame_groups
from lib.data.labels.names import plain_name, refuse_overlap

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", LABEL_MAP)
TOLERANCE = 0.25
"""Largest distance of a pixel of the SEG from a voxel of the image, in voxels; and from a slice, in slice distances."""
HALF = 0.5
"""Share from which a voxel belongs to a fractional segment."""
_REMEDY = "Export the SEG again with the series as reference, on the grid of its slices."


@dataclass(frozen=True)
class Plane:
    """One slice of the image: its first voxel, its axes per voxel, and its normal, in mm LPS."""

    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    normal: NDArray[np.float64]


def read_segmentation(seg: Dataset, slices: Path, values: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return a label ``(X, Y, Z)`` on the grid that `lib.data.formats.load` gives the series.

    Segments are matched by their labels, in which case, blanks, hyphens and underscores do not matter. A segment with
    another label must be empty: its voxels would become background. A voxel belongs to one segment at most. A
    fractional segment covers voxels of at least 0.5.
    Each frame is placed by its own position; a frame whose rows or columns run the other way is turned.

    Args:
        seg: The DICOM SEG: binary, fractional, or a label map.
        slices: Folder with the files of the segmented series.
        values: Label value of each label name.
    Raises:
        InputRejected: BAD_SEG, LABEL_NAMES if a segment with voxels has no known label, LABEL_OVERLAP if segments share
            voxels, or LABEL_GRID if the SEG does not refer to these slices or is not on their grid.
    """
    try:
        names = _segment_names(seg)
        groups = frame_groups(seg)
        frames = list(_pixels(seg, len(groups)))
    except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise reject("BAD_SEG", f"The DICOM SEG cannot be read: {error}.", "Export it again.") from error
    known = _known_segments(names, values)
    ordered = series_slices(slices)
    _check_references(seg, ordered)
    planes = _planes(ordered)
    label = np.zeros((*ordered[0].size, len(ordered)), np.uint8)
    numbers = [_segment_number(seg, items) for items in groups]
    for index, number in enumerate(numbers):
        if number is not None and number not in known:
            if (frames[index] >= HALF).any():
                raise _unknown([names.get(number, str(number))], values)
            continue
        geometry = frame_geometry([seg, *groups[index]])
        if geometry is None:
            raise reject("LABEL_GRID", f"Frame {index + 1} of the SEG has no position or pixel spacing.", _REMEDY)
        if number is None and (others := set(np.unique(frames[index]).tolist()) - {0} - set(known)):
            raise _unknown([names.get(other, str(other)) for other in sorted(others)], values)
        marks = _marks(frames[index], number, known)
        _draw(label, marks, _turn(geometry, marks, planes, index + 1), values)
    return label


def segment_labels(seg: Dataset) -> list[str]:
    """Return the labels of the segments of a SEG, without the background of a label map."""
    return list(_segment_names(seg).values())


def _segment_names(seg: Dataset) -> dict[int, str]:
    if seg.SOPClassUID not in SOP_CLASSES:
        raise ValueError(f"its SOP class is {seg.SOPClassUID}")
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    return {number: name for number, name in names.items() if number > 0}


def _known_segments(found: Mapping[int, str], values: Mapping[str, int]) -> dict[int, int]:
    """Return the label value of each segment that has a label of the app."""
    names = {plain_name(name): value for name, value in values.items()}
    known = {number: names[plain_name(label)] for number, label in found.items() if plain_name(label) in names}
    if not known:
        reason = (
            f"The segments of the SEG are {', '.join(sorted(set(found.values())))}, and none is a label of the app."
        )
        raise reject("LABEL_NAMES", reason, f"Rename the segments to labels of the app: {', '.join(values)}.")
    return known


def _unknown(found: Sequence[str], values: Mapping[str, int]) -> InputRejected:
    reason = f"The SEG has voxels of {', '.join(found)}, which is no label of the app: they would become background."
    remedy = f"Remove these segments, or rename them to labels of the app: {', '.join(values)}."
    return reject("LABEL_NAMES", reason, remedy)


def _segment_number(seg: Dataset, items: list[Dataset]) -> int | None:
    """Return the segment of a frame; None for a label map, whose pixels are segment numbers."""
    if seg.SOPClassUID == LABEL_MAP:
        return None
    return next(int(item.ReferencedSegmentNumber) for item in items if "ReferencedSegmentNumber" in item)


def _pixels(seg: Dataset, count: int) -> Iterator[NDArray[Any]]:
    """Yield the pixels ``(rows, columns)`` of each frame; fractional ones as shares from 0 to 1."""
    rows, columns = int(seg.Rows), int(seg.Columns)
    if count != int(seg.NumberOfFrames):
        raise ValueError(f"it announces {seg.NumberOfFrames} frames and describes {count}")
    if int(seg.BitsAllocated) == 1 and not seg.file_meta.TransferSyntaxUID.is_compressed:
        # Unpacked as a whole, a SEG of many segments would take eight times its size in memory.
        need = -(-count * rows * columns // 8)
        if len(seg.PixelData) < need:
            raise ValueError(f"it holds {len(seg.PixelData):,} of {need:,} bytes of pixels")
        for index in range(count):
            first, last = index * rows * columns, (index + 1) * rows * columns
            bits = np.frombuffer(seg.PixelData, np.uint8)[first // 8 : -(-last // 8)]
            unpacked = np.unpackbits(bits, bitorder="little")[first % 8 :][: rows * columns]
            yield unpacked.reshape(rows, columns)
        return
    highest = float(seg.get("MaximumFractionalValue") or 0)
    for frame in seg.pixel_array.reshape(count, rows, columns):
        yield frame if highest == 0 or seg.get("SegmentationType") != "FRACTIONAL" else frame / highest


def _marks(pixels: NDArray[Any], number: int | None, known: Mapping[int, int]) -> NDArray[np.uint8]:
    """Return the label values of a frame, ``(rows, columns)``."""
    if number is not None:
        return np.where(pixels >= HALF, known[number], 0).astype(np.uint8)
    marks = np.zeros(pixels.shape, np.uint8)
    for segment, value in known.items():
        marks[pixels == segment] = value
    return marks


def _check_references(seg: Dataset, frames: list[Frame]) -> None:
    """Raise LABEL_GRID unless the SEG is in the frame of reference of the series and refers to its images only."""
    instances = {frame.uid for frame in frames}
    items = [
        item
        for one in seg.get("ReferencedSeriesSequence") or []
        for item in one.get("ReferencedInstanceSequence") or []
    ]
    referred = {str(item.ReferencedSOPInstanceUID) for item in items}
    series = pydicom.dcmread(frames[0].path, specific_tags=["FrameOfReferenceUID"], stop_before_pixels=True)
    places = {str(found.get("FrameOfReferenceUID") or "") for found in (seg, series)} - {""}
    if len(places) > 1:
        reason = "The SEG lies in another frame of reference than its series: their positions cannot be compared."
        raise reject("LABEL_GRID", reason, _REMEDY)
    if (not places and not referred) or not referred <= instances:
        reason = f"The SEG refers to {len(referred)} images, and {len(referred & instances)} of them are in its series."
        raise reject("LABEL_GRID", reason, _REMEDY)


def _planes(frames: list[Frame]) -> list[Plane]:
    planes = []
    for frame in frames:
        if frame.geometry is None:
            raise reject(
                "LABEL_GRID", f"'{frame.path.name}' has no position, so a SEG cannot be placed on it.", _REMEDY
            )
        axes = np.column_stack([frame.geometry[3:6] * frame.geometry[10], frame.geometry[6:9] * frame.geometry[9]])
        planes.append(Plane(frame.geometry[:3], axes, np.cross(frame.geometry[3:6], frame.geometry[6:9])))
    return planes


@dataclass(frozen=True)
class Turn:
    """The place of a frame in a label: slice `k`, and voxel ``start + matrix @ (column, row)`` of each pixel."""

    k: int
    matrix: NDArray[np.int_]
    start: NDArray[np.int_]


def _turn(geometry: NDArray[np.float64], marks: NDArray[np.uint8], planes: list[Plane], number: int) -> Turn:
    """Return the place of a frame; its pixels must lie on voxels of one slice.

    Raises:
        InputRejected: LABEL_GRID, if they do not.
    """
    position, pixel = geometry[:3], np.column_stack([geometry[3:6] * geometry[10], geometry[6:9] * geometry[9]])
    distances = np.array([abs(plane.normal @ (position - plane.origin)) for plane in planes])
    k = int(np.argmin(distances))
    steps = [
        abs(planes[k].normal @ (planes[n].origin - planes[k].origin)) for n in (k - 1, k + 1) if 0 <= n < len(planes)
    ]
    plane, allowed_mm = planes[k], TOLERANCE * min(steps, default=1.0)
    if distances[k] > allowed_mm:
        reason = f"Frame {number} of the SEG lies {distances[k]:.2f} mm from the nearest slice of its series."
        raise reject("LABEL_GRID", reason, _REMEDY)
    matrix = np.linalg.lstsq(plane.axes, pixel, rcond=None)[0]
    start = np.linalg.lstsq(plane.axes, position - plane.origin, rcond=None)[0]
    whole, first = np.rint(matrix).astype(int), np.rint(start).astype(int)
    corners = np.array([(c, r) for c in (0, marks.shape[1] - 1) for r in (0, marks.shape[0] - 1)])
    drift = float(np.abs(corners @ (matrix - whole).T + start - first).max())
    tilt_mm = float(np.abs(corners @ (plane.normal @ pixel)).max())
    if abs(np.linalg.det(whole)) != 1 or np.abs(whole).max() > 1 or drift > TOLERANCE or tilt_mm > allowed_mm:
        spacing = " x ".join(f"{value:.3g}" for value in np.linalg.norm(pixel, axis=0))
        expected = " x ".join(f"{value:.3g}" for value in np.linalg.norm(plane.axes, axis=0))
        reason = (
            f"Frame {number} of the SEG is not on the grid of its slice: {marks.shape[1]} x {marks.shape[0]} pixels of "
            f"{spacing} mm at {np.round(position, 2).tolist()}, and the slice has pixels of {expected} mm at "
            f"{np.round(plane.origin, 2).tolist()}."
        )
        raise reject("LABEL_GRID", reason, _REMEDY)
    return Turn(k, whole, first)


def _draw(label: NDArray[np.uint8], marks: NDArray[np.uint8], turn: Turn, values: Mapping[str, int]) -> None:
    """Draw the marks of a frame.

    Raises:
        InputRejected: LABEL_GRID if marked pixels lie outside of the image, LABEL_OVERLAP if another segment has them.
    """
    rows, columns = np.nonzero(marks)
    ij = np.column_stack([columns, rows]) @ turn.matrix.T + turn.start
    if len(ij) and ((ij < 0).any() or (ij >= label.shape[:2]).any()):
        raise reject("LABEL_GRID", "Marked pixels of the SEG lie outside of the slices of its series.", _REMEDY)
    place = (ij[:, 0], ij[:, 1], turn.k)
    former, new = label[place], marks[rows, columns]
    shared = (former != 0) & (former != new)
    if shared.any():
        first = int(shared.argmax())
        names = {value: name for name, value in values.items()}
        one, other = (names.get(int(of[first]), "ignore") for of in (former, new))
        at = f"({ij[first, 0]}, {ij[first, 1]}, {turn.k})"
        raise refuse_overlap(one, other, int(np.count_nonzero(shared)), f"voxel {at}")
    label[place] = new
