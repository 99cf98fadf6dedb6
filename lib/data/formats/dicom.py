"""Read one DICOM file or the folder of one series, slices in the order of their positions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from lib.data.findings import Finding, reject
from lib.data.formats.volume import Header
from lib.data.grid import LPS_TO_RAS, ras_from_itk

UNEVEN_FRACTION = 0.1
"""Slice distances may differ from their median by this much."""
MIN_UNEVEN_MM = 0.05
MAX_TILT_MM_PER_MM = 0.02
"""Sideways shift per mm along the slice normal, above which a gantry was tilted."""
_TAGS = [
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
]
_REMEDY = "Send one complete series again from the archive."


@dataclass(frozen=True)
class _Slice:
    path: Path
    tags: Dataset


def is_dicom(path: Path) -> bool:
    """Return whether the file carries the DICOM marker."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def patient_id(path: Path) -> str | None:
    """Return the PatientID of a DICOM file or of the first file of a folder, if there is one."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    first = next((file for file in files if is_dicom(file)), None)
    if first is None:
        return None
    return (
        str(pydicom.dcmread(first, stop_before_pixels=True, specific_tags=["PatientID"]).get("PatientID", "")) or None
    )


def _read_slice(path: Path) -> _Slice:
    try:
        with path.open("rb") as file:
            tags = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            left = path.stat().st_size - file.tell()
    except (InvalidDicomError, EOFError, ValueError, KeyError) as error:
        raise reject("NOT_AN_IMAGE", f"'{path.name}' is no DICOM file ({error}).", _REMEDY) from error
    if "Rows" not in tags or "Columns" not in tags:
        raise reject("NOT_AN_IMAGE", f"'{path.name}' is DICOM but holds no image.", _REMEDY)
    voxels = tags.Rows * tags.Columns * int(tags.get("NumberOfFrames") or 1) * int(tags.get("SamplesPerPixel") or 1)
    need = voxels * int(tags.get("BitsAllocated") or 16) // 8
    syntax = getattr(tags.file_meta, "TransferSyntaxUID", None)
    if syntax is not None and not syntax.is_compressed and left < need:
        raise reject("TRUNCATED", f"'{path.name}' holds {left:,} of {need:,} bytes of voxels.", _REMEDY)
    return _Slice(path, tags)


def _series(path: Path) -> list[_Slice]:
    if path.is_file():
        return [_read_slice(path)]
    slices = [_read_slice(file) for file in sorted(path.iterdir()) if is_dicom(file)]
    if not slices:
        raise reject("NOT_AN_IMAGE", f"The folder '{path.name}' holds no DICOM files.", _REMEDY)
    count = len({s.tags.get("SeriesInstanceUID") for s in slices})
    if count > 1:
        raise reject("MANY_SERIES", f"The folder '{path.name}' mixes {count} series.", "Put each in its own folder.")
    return slices


def _single(path: Path, one: _Slice) -> Header:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(one.path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise reject("NOT_AN_IMAGE", f"'{one.path.name}' cannot be decoded.", _REMEDY) from error
    affine = ras_from_itk(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    return _header(path, [one], tuple(reader.GetSize()), affine, ())


def _header(
    path: Path, slices: list[_Slice], shape: tuple[int, ...], affine: NDArray[np.float64], found: tuple[Finding, ...]
) -> Header:
    tags = slices[0].tags
    components = int(tags.get("SamplesPerPixel") or 1)
    size = components * int(tags.get("BitsAllocated") or 16) // 8
    files = [str(s.path) for s in slices]
    return Header(path, "dicom", shape, components, size, affine, tags.get("Modality"), found, files)


def read_header(path: Path) -> Header:
    """Return the header; see `lib.data.formats.read_header`."""
    slices = _series(path)
    if len(slices) == 1:
        return _single(path, slices[0])
    if len({(s.tags.Rows, s.tags.Columns) for s in slices}) > 1:
        raise reject("WRONG_DIMENSION", f"The slices in '{path.name}' differ in size.", _REMEDY)
    try:
        cosines = np.array([s.tags.ImageOrientationPatient for s in slices], np.float64)
        positions = np.array([s.tags.ImagePositionPatient for s in slices], np.float64)
        row_mm, column_mm = (float(v) for v in slices[0].tags.PixelSpacing)
    except (AttributeError, TypeError, ValueError) as error:
        reason = f"The slices in '{path.name}' lack position, orientation or pixel spacing."
        raise reject("BAD_AFFINE", reason, _REMEDY) from error
    if np.abs(cosines - cosines[0]).max() > 1e-3:
        raise reject("BAD_AFFINE", f"The slices in '{path.name}' differ in orientation.", _REMEDY)
    along, down = cosines[0, :3], cosines[0, 3:]
    depth_mm = positions @ np.cross(along, down)
    order = np.argsort(depth_mm, kind="stable")
    first, last = positions[order[0]], positions[order[-1]]
    lps = np.eye(4)
    lps[:3] = np.stack([along * column_mm, down * row_mm, (last - first) / (len(slices) - 1), first], axis=1)
    shape = (int(slices[0].tags.Columns), int(slices[0].tags.Rows), len(slices))
    found = (*_gaps(depth_mm[order]), *_tilt(positions[order], depth_mm[order]))
    return _header(path, [slices[i] for i in order], shape, LPS_TO_RAS @ lps, found)


def _gaps(depth_mm: NDArray[np.float64]) -> list[Finding]:
    steps = np.diff(depth_mm)
    median = float(np.median(steps))
    allowed = max(UNEVEN_FRACTION * median, MIN_UNEVEN_MM)
    uneven = np.flatnonzero(np.abs(steps - median) > allowed)
    if median > 0 and not len(uneven):
        return []
    worst = int(np.argmax(np.abs(steps - median)))
    reason = (
        f"{len(uneven)} of {len(steps)} slice distances differ from {median:.2f} mm, "
        f"for example {steps[worst]:.2f} mm between slices {worst} and {worst + 1}."
    )
    return [Finding("MISSING_SLICES", reason, "Fetch the missing slices, or remove the doubled ones.")]


def _tilt(positions: NDArray[np.float64], depth_mm: NDArray[np.float64]) -> list[Finding]:
    run = positions[-1] - positions[0]
    length, depth = float(np.linalg.norm(run)), float(depth_mm[-1] - depth_mm[0])
    sideways = np.sqrt(max(length**2 - depth**2, 0.0))
    if depth <= 0 or sideways <= MAX_TILT_MM_PER_MM * depth:
        return []
    reason = f"The slices shift sideways by {sideways:.1f} mm over {depth:.1f} mm: the gantry was tilted."
    return [Finding("BAD_AFFINE", reason, "Resample the series to a straight grid first.")]


def read_voxels(path: Path, header: Header) -> NDArray[Any]:
    """Return the rescaled voxels in the shape of the header, first axis fastest."""
    try:
        if len(header.details) == 1:
            image = sitk.ReadImage(header.details[0])
        else:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(header.details)
            image = reader.Execute()
    except RuntimeError as error:
        raise reject("TRUNCATED", f"The voxels of '{path.name}' cannot be decoded.", _REMEDY) from error
    return sitk.GetArrayFromImage(image).T
