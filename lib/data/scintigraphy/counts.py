"""Read the counts of a planar NM scan, one view per frame, and reject pixels that are not counts of a camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from lib.data.findings import Finding, InputRejected, reject
from lib.data.formats import dicom
from lib.data.formats.claims import PICTURE_RATIO, check_claim
from lib.data.formats.dicom_frames import Frame
from lib.data.formats.volume import Header
from lib.data.scintigraphy.pixels import decode

PLANAR = ("STATIC", "WHOLE BODY")
SPACING_MM = (0.5, 15.0)
MAX_PIXELS = 1 << 25
"""Largest number of pixels of all frames, sixty times that of a whole-body scan."""
MAX_COUNTS_PER_PIXEL = 10_000_000
"""Largest accepted count of one pixel, more than a whole scan records."""
SUM_TOLERANCE = 0.01
"""Largest relative difference between the sum of the pixels and the accumulated counts in the header."""
MIN_DISPERSION = 0.5
"""Smallest accepted `dispersion`; the image was smoothed if it is lower."""
_TAGS = [
    "ActualFrameDuration",
    "CountsAccumulated",
    "DetectorInformationSequence",
    "DetectorVector",
    "EnergyWindowVector",
    "ImageType",
    "PatientID",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "ScanVelocity",
]
_REMEDY = "Send the scan as the camera stored it, without processing."


@dataclass(frozen=True, eq=False)
class CountScan:
    """A planar scan.

    Args:
        path: File of the scan.
        counts: Counts, int32 ``(V, H, W)``, one view after another; the head is in the first rows.
        views: Name of each view: ``anterior``, ``posterior``, or empty if the file does not name it.
        spacing_mm: Pixel spacing of rows and columns, in mm.
        patient: DICOM PatientID.
        velocity_mm_s: Velocity of the table, in mm/s; None if it is not in the file.
        duration_s: Duration of the recording, in seconds; None if it is not in the file.
    """

    path: Path
    counts: NDArray[np.int32]
    views: tuple[str, ...]
    spacing_mm: tuple[float, float]
    patient: str
    velocity_mm_s: float | None
    duration_s: float | None


def read_counts(path: str | Path) -> CountScan:
    """Return the counts of an NM file.

    Raises:
        InputRejected: UNREADABLE, NOT_AN_IMAGE, TRUNCATED, TOO_LARGE, UNKNOWN_MODALITY, WRONG_DIMENSION, BAD_AFFINE,
            SPACING_ABSURD, EMPTY, or NOT_COUNTS if the image was scaled, smoothed or cropped after the recording.
    """
    path = Path(path)
    if not dicom.is_dicom(path):
        raise reject("NOT_AN_IMAGE", f"'{path.name}' is not a DICOM file.", _REMEDY)
    try:
        image = dicom.read_slice(path)
        _check_size(path, image)  # before anything is made for each of its frames
        tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        found = [*_kind(image.modality, image.components, tags), *_frames(tags, image.frames), *_scaled(tags)]
        spacing_mm, more = _spacing(tags)
        views = _views(tags, image.frames)
        stated = {name: _number(tags, name) for name in ("CountsAccumulated", "ScanVelocity", "ActualFrameDuration")}
    except InputRejected:
        raise
    except OSError as error:
        raise reject("UNREADABLE", f"'{path.name}': {error.strerror or error}.", "Check the disk.") from error
    except Exception as error:  # pydicom raises many kinds of exceptions for a damaged file
        raise reject("NOT_AN_IMAGE", f"The tags of '{path.name}' cannot be read ({error}).", _REMEDY) from error
    if found := [*found, *more]:
        raise InputRejected(found)
    width, height = image.size
    counts = decode(path, (image.frames, height, width))
    if found := list(find_count_faults(counts, stated["CountsAccumulated"])):
        raise InputRejected(found)
    return CountScan(
        path=path,
        counts=np.ascontiguousarray(counts, np.int32),
        views=views,
        spacing_mm=spacing_mm,
        patient=str(tags.get("PatientID") or ""),
        velocity_mm_s=stated["ScanVelocity"] or None,
        duration_s=(stated["ActualFrameDuration"] or 0) / 1000 or None,
    )


def _check_size(path: Path, image: Frame) -> None:
    width, height = image.size
    if max(width * height, 1) * image.frames > MAX_PIXELS:
        reason = f"The header of '{path.name}' announces {image.frames} frames of {width} x {height} pixels."
        raise reject("TOO_LARGE", reason, "Choose the planar scan of the study.")
    claim = Header(path, "dicom", (width, height, image.frames), 1, image.bytes_per_voxel, np.eye(4))
    check_claim(claim, PICTURE_RATIO)


def dispersion(counts: NDArray[Any]) -> float:
    """Return the ratio of the noise of an image to the noise of Poisson counts, from second differences along columns.

    For Poisson counts, a second difference has the variance of six pixels. Anatomy increases the ratio and smoothing
    decreases it: a ratio near 1 means recorded counts, and a ratio far below 1 means a smoothed image.

    Args:
        counts: Pixels ``(V, H, W)``.
    """
    counts = counts.astype(np.float64)
    bends = counts[:, :-2] - 2 * counts[:, 1:-1] + counts[:, 2:]
    total = float(counts[:, 1:-1].sum())
    return float(np.square(bends).sum()) / (6 * total) if total else float("nan")


def _kind(modality: str | None, components: int, tags: Dataset) -> Iterator[Finding]:
    if modality != "NM":
        reason = f"The DICOM modality is {modality or 'not given'}, and this task needs NM."
        yield Finding("UNKNOWN_MODALITY", reason, "Choose the series of the gamma camera.")
    if components != 1:
        yield Finding("WRONG_DIMENSION", f"Each pixel holds {components} values.", _REMEDY)
    kinds = [str(value).upper() for value in tags.get("ImageType") or []]
    if len(kinds) > 2 and kinds[2] not in PLANAR:
        reason = f"The image type is {kinds[2]}, so its frames are not views of one planar scan."
        yield Finding("WRONG_DIMENSION", reason, "Choose the whole-body or the static series.")


def _frames(tags: Dataset, frames: int) -> Iterator[Finding]:
    for name in ("DetectorVector", "EnergyWindowVector"):
        vector = _values(tags, name)
        if vector and len(vector) != frames:
            reason = f"{name} has {len(vector)} entries for {frames} frames."
            yield Finding("WRONG_DIMENSION", reason, _REMEDY)
    if len(set(_values(tags, "EnergyWindowVector"))) > 1:
        yield Finding(
            "WRONG_DIMENSION", "The frames are of several energy windows.", "Send only the frames of the photopeak."
        )


def _scaled(tags: Dataset) -> Iterator[Finding]:
    slope, intercept = _number(tags, "RescaleSlope") or 1.0, _number(tags, "RescaleIntercept")
    if (slope, intercept) != (1, 0):
        reason = f"The rescale slope is {slope:g} and the intercept {intercept:g}, so the pixels are not counts."
        yield Finding("NOT_COUNTS", reason, _REMEDY)


def _spacing(tags: Dataset) -> tuple[tuple[float, float], list[Finding]]:
    values = [float(value) for value in _values(tags, "PixelSpacing")]
    if len(values) != 2 or not np.isfinite(values).all() or min(values) <= 0:
        return (0.0, 0.0), [Finding("BAD_AFFINE", f"The pixel spacing is {values or 'not given'}.", _REMEDY)]
    low, high = SPACING_MM
    if min(values) < low or max(values) > high:
        reason = f"The pixel spacing is {values[0]:g} x {values[1]:g} mm; {low} to {high} mm is plausible."
        return (0.0, 0.0), [Finding("SPACING_ABSURD", reason, "Check that the spacing is stored in millimetres.")]
    return (values[0], values[1]), []


def _views(tags: Dataset, frames: int) -> tuple[str, ...]:
    """Return the view of each frame, from the coded view of its detector; empty if it is not coded."""
    meanings = [_view(item) for item in tags.get("DetectorInformationSequence") or []]
    detectors = [int(value) for value in _values(tags, "DetectorVector")] or [0] * frames
    return tuple(meanings[d - 1] if 1 <= d <= len(meanings) else "" for d in detectors)


def _view(detector: Dataset) -> str:
    codes = detector.get("ViewCodeSequence") or []
    meaning = str(codes[0].get("CodeMeaning", "")).lower() if len(codes) else ""
    return next((name for name in ("anterior", "posterior") if meaning.startswith(name)), "")


def _values(tags: Dataset, name: str) -> list[Any]:
    value = tags.get(name)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | MultiValue) else [value]


def _number(tags: Dataset, name: str) -> float:
    values = _values(tags, name)
    return float(values[0]) if values and np.isfinite(float(values[0])) else 0.0


def find_count_faults(counts: NDArray[Any], accumulated: float) -> Iterator[Finding]:
    """Yield findings if pixels are not the counts that a camera recorded.

    Args:
        counts: Pixels ``(V, H, W)``.
        accumulated: Accumulated counts in the header; 0 if they are not in the header.
    """
    if counts.min() < 0 or counts.max() > MAX_COUNTS_PER_PIXEL:
        reason = f"The pixels run from {counts.min()} to {counts.max()}, so they are not counts."
        yield Finding("NOT_COUNTS", reason, _REMEDY)
        return
    total = float(counts.sum(dtype=np.float64))
    if not total:
        yield Finding("EMPTY", "All pixels are 0.", "Choose an image with counts.")
        return
    if accumulated > 0 and abs(total - accumulated) > SUM_TOLERANCE * accumulated:
        reason = f"The sum of the pixels is {total:,.0f}, but the header says {accumulated:,.0f} counts."
        yield Finding("NOT_COUNTS", f"{reason} The image was scaled or cropped after the recording.", _REMEDY)
    if counts.shape[1] > 2 and (spread := dispersion(counts)) < MIN_DISPERSION:
        reason = f"The noise is {spread:.2f} times that of recorded counts: the image was smoothed."
        yield Finding("NOT_COUNTS", reason, _REMEDY)
