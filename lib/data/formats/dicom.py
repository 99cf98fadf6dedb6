"""Read one DICOM file, or the folder of one series with its slices sorted by position."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lib.data.findings import Finding, reject
from lib.data.formats.volume import Header
from lib.data.volumes.geometry import LPS_TO_RAS, ras_from_itk

UNEVEN_FRACTION = 0.1
"""Largest accepted difference of a slice distance from the median distance, as a fraction of the median."""
MIN_UNEVEN_MM = 0.05
MAX_TILT_MM_PER_MM = 0.02
"""Sideways shift per mm along the slice normal above which the gantry was tilted."""
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
_REMEDY = "Fetch one complete series from the archive again."


@dataclass(frozen=True)
class Slice:
    """Tags of one file, as plain values."""

    path: Path
    series: str
    modality: str | None
    size: tuple[int, int]
    frames: int
    components: int
    bytes_per_voxel: int
    geometry: NDArray[Any] | None
    """Position (3) in mm, row and column cosines (6), and spacing of rows and of columns (2) in mm."""


def is_dicom(path: Path) -> bool:
    """Return whether the file has the DICOM marker."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def patient_id(path: Path) -> str | None:
    """Return the PatientID of a DICOM file or of the first DICOM file of a folder, or None if there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    first = next((file for file in files if is_dicom(file)), None)
    if first is None:
        return None
    try:
        tags = pydicom.dcmread(first, stop_before_pixels=True, specific_tags=["PatientID"])
        return str(tags.get("PatientID") or "") or None
    except Exception:  # as in `read_slice`; the input gate reports a damaged file later
        return None


def read_slice(path: Path) -> Slice:
    """Return the tags of one file.

    Raises:
        InputRejected: NOT_AN_IMAGE or TRUNCATED.
    """
    try:
        if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise ValueError("the whole file is deflated, so its size in memory is unknown")
        with path.open("rb") as file:
            tags = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            left = path.stat().st_size - file.tell()
        one = _parse(path, tags)
        packed = "TransferSyntaxUID" in tags.file_meta and tags.file_meta.TransferSyntaxUID.is_compressed
    except OSError:
        raise
    except Exception as error:  # pydicom raises many kinds of exceptions for a damaged file
        raise reject("NOT_AN_IMAGE", f"'{path.name}' is not a readable DICOM image ({error}).", _REMEDY) from error
    need = one.size[0] * one.size[1] * one.frames * one.bytes_per_voxel
    if left < need and not packed:
        raise reject("TRUNCATED", f"'{path.name}' holds only {left:,} of {need:,} bytes of voxels.", _REMEDY)
    return one


def _parse(path: Path, tags: Dataset) -> Slice:
    components = int(tags.get("SamplesPerPixel") or 1)
    try:
        values = [*tags.ImagePositionPatient, *tags.ImageOrientationPatient, *tags.PixelSpacing]
        geometry = np.array(values, np.float64)
    except (AttributeError, TypeError, ValueError):
        geometry = None
    return Slice(
        path=path,
        series=str(tags.get("SeriesInstanceUID")),
        modality=str(tags.Modality) if tags.get("Modality") else None,
        size=(int(tags.Columns), int(tags.Rows)),
        frames=int(tags.get("NumberOfFrames") or 1),
        components=components,
        bytes_per_voxel=components * int(tags.get("BitsAllocated") or 16) // 8,
        geometry=geometry if geometry is not None and geometry.shape == (11,) else None,
    )


def _series(path: Path) -> list[Slice]:
    if path.is_file():
        return [read_slice(path)]
    slices = [read_slice(file) for file in sorted(path.iterdir()) if is_dicom(file)]
    if not slices:
        raise reject("NOT_AN_IMAGE", f"The folder '{path.name}' holds no DICOM files.", _REMEDY)
    count = len({s.series for s in slices})
    if count > 1:
        raise reject(
            "MANY_SERIES",
            f"The folder '{path.name}' holds files of {count} series.",
            "Put each series in its own folder.",
        )
    return slices


def _single(path: Path, one: Slice) -> Header:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(one.path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise reject("NOT_AN_IMAGE", f"'{one.path.name}' cannot be decoded.", _REMEDY) from error
    affine = ras_from_itk(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    return _header(path, [one], tuple(reader.GetSize()), affine, ())


def _header(
    path: Path, slices: list[Slice], shape: tuple[int, ...], affine: NDArray[Any], found: tuple[Finding, ...]
) -> Header:
    one = slices[0]
    files = [str(s.path) for s in slices]
    return Header(path, "dicom", shape, one.components, one.bytes_per_voxel, affine, one.modality, found, files)


def read_header(path: Path) -> Header:
    """Return the header; see `lib.data.formats.read_header`."""
    slices = _series(path)
    if len(slices) == 1:
        return _single(path, slices[0])
    if len({(s.size, s.frames, s.components) for s in slices}) > 1 or slices[0].frames > 1:
        raise reject("WRONG_DIMENSION", f"The files in '{path.name}' are not single slices of one size.", _REMEDY)
    known = [s.geometry for s in slices if s.geometry is not None and np.isfinite(s.geometry).all()]
    if len(known) < len(slices):
        reason = f"{len(slices) - len(known)} slices in '{path.name}' lack position, orientation or pixel spacing."
        raise reject("BAD_AFFINE", reason, _REMEDY)
    positions, cosines, spacing_mm = np.split(np.array(known), (3, 9), axis=1)
    if np.abs(cosines - cosines[0]).max() > 1e-3 or np.abs(spacing_mm - spacing_mm[0]).max() > 1e-3:
        raise reject("BAD_AFFINE", f"The slices in '{path.name}' differ in orientation or spacing.", _REMEDY)
    along, down = cosines[0, :3], cosines[0, 3:]
    depth_mm = positions @ np.cross(along, down)
    order = np.argsort(depth_mm, kind="stable")
    first, last = positions[order[0]], positions[order[-1]]
    lps = np.eye(4)
    lps[:3] = np.stack([along * spacing_mm[0, 1], down * spacing_mm[0, 0], (last - first) / (len(known) - 1), first], 1)
    found = (*_gaps(depth_mm[order]), *_tilt(positions[order], depth_mm[order]))
    return _header(path, [slices[i] for i in order], (*slices[0].size, len(slices)), LPS_TO_RAS @ lps, found)


def _gaps(depth_mm: NDArray[Any]) -> list[Finding]:
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
    return [Finding("MISSING_SLICES", reason, "Add the missing slices, or remove duplicate slices.")]


def _tilt(positions: NDArray[Any], depth_mm: NDArray[Any]) -> list[Finding]:
    run = positions[-1] - positions[0]
    length, depth = float(np.linalg.norm(run)), float(depth_mm[-1] - depth_mm[0])
    sideways = np.sqrt(max(length**2 - depth**2, 0.0))
    if depth <= 0 or sideways <= MAX_TILT_MM_PER_MM * depth:
        return []
    reason = f"The slices shift sideways by {sideways:.1f} mm over {depth:.1f} mm: the gantry was tilted."
    return [Finding("BAD_AFFINE", reason, "Resample the series to a grid with right angles first.")]


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
