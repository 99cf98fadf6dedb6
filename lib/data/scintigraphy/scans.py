"""Read a scan in any accepted format, and write a restored scan that is marked as processed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib.data.files.atomic import replacing
from lib.data.findings import InputRejected, reject
from lib.data.formats import dicom, load, read_header
from lib.data.scintigraphy.counts import MAX_PIXELS, CountScan, find_count_faults, read_counts
from lib.data.scintigraphy.derived import NOTICE, whole_counts, write_derived
from lib.data.volumes.geometry import itk_from_ras

DICOM_SUFFIX, PNG_SUFFIX = ".dcm", ".png"
NIFTI_SUFFIXES = (".nii.gz", ".nii")
SUFFIXES = (DICOM_SUFFIX, ".nrrd", *NIFTI_SUFFIXES, PNG_SUFFIX)
"""Suffixes of the formats that can be written."""
MAX_VIEWS = 8
_NIFTI_NOTICE = b"PROCESSED: expected counts, estimated from fewer; read with its source"
_REMEDY = "Send one planar scan with one view per slice and counts as pixels."


def read_scan(path: str | Path) -> CountScan:
    """Return the counts of an NM file, or of a volume or picture whose pixels are counts.

    A volume ``(X, Y)`` or ``(X, Y, V)`` has columns along its first axis, rows along its second, and a view per slice.

    Args:
        path: ``.dcm``, NIfTI, NRRD, MetaImage, or a grey PNG or JPEG.
    Raises:
        InputRejected: With the codes of `lib.data.scintigraphy.counts.read_counts`.
    """
    path = Path(path)
    if path.is_file() and dicom.is_dicom(path):
        return read_counts(path)
    header = read_header(path)
    if header.components != 1 or len(header.spatial_shape) > 3 or (*header.spatial_shape, 1)[2] > MAX_VIEWS:
        raise reject("WRONG_DIMENSION", f"'{path.name}' with shape {header.shape} is not a planar scan.", _REMEDY)
    if np.prod(header.shape) > MAX_PIXELS:
        raise reject("TOO_LARGE", f"The header of '{path.name}' announces {header.shape} pixels.", _REMEDY)
    voxels = np.asarray(load(path, header).voxels, np.float64)
    counts = np.rint(voxels).reshape((*voxels.shape, 1)[:3]).transpose(2, 1, 0)
    if not np.array_equal(np.rint(voxels), voxels):
        reason = f"The pixels of '{path.name}' are not integers, so they are not counts."
        raise reject("NOT_COUNTS", reason, "Send the scan as the camera stored it, without processing.")
    if found := list(find_count_faults(counts, 0)):
        raise InputRejected(found)
    spacing = np.linalg.norm(header.affine[:3, :3], axis=0)
    return CountScan(
        path=path,
        counts=np.ascontiguousarray(counts, np.int32),
        views=("",) * len(counts),
        spacing_mm=(float(spacing[1]), float(spacing[0])),
        patient="",
        velocity_mm_s=None,
        duration_s=None,
    )


def default_suffix(path: str | Path) -> str:
    """Return the default suffix of a restored scan: that of its source if it can be written, else ``.nii.gz``."""
    if dicom.is_dicom(Path(path)):
        return DICOM_SUFFIX
    name = Path(path).name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), NIFTI_SUFFIXES[0])


def write_restored(
    scan: CountScan, expected: NDArray[Any], path: str | Path, *, description: str, software: str
) -> Path:
    """Write restored counts in the format of the suffix: unchanged in NIfTI and NRRD, rounded in DICOM and PNG.

    Args:
        scan: The scan that was restored.
        expected: Expected counts ``(V, H, W)``, or another map of that shape.
        path: Output file with one of `SUFFIXES`.
        description: Description of the processing.
        software: Name and version of the software.
    Returns:
        The path of the file.
    Raises:
        ValueError: If the suffix is unknown, or the format cannot store the scan.
    """
    path = Path(path)
    suffix = next((known for known in SUFFIXES if path.name.lower().endswith(known)), "")
    if not suffix:
        raise ValueError(f"cannot write '{path.name}': use one of {', '.join(SUFFIXES)}")
    if suffix == DICOM_SUFFIX:
        if not dicom.is_dicom(scan.path):
            raise ValueError("a derived DICOM needs a source that is DICOM: choose .nii.gz or .nrrd")
        return write_derived(scan.path, expected, path, description=description, software=software)
    if suffix == PNG_SUFFIX and len(expected) > 1:
        raise ValueError(f"a picture has one view, and this scan has {len(expected)}: choose .nii.gz or .nrrd")
    writers = {PNG_SUFFIX: _write_png, ".nrrd": _write_nrrd}
    with replacing(path) as partial:
        writers.get(suffix, _write_nifti)(scan, expected, partial, description)
    return path


def affine_of(scan: CountScan) -> NDArray[np.float64]:
    """Return the affine ``(4, 4)`` of a scan as a volume; for a DICOM file, it holds only the pixel spacing."""
    if dicom.is_dicom(scan.path):
        return np.diag([scan.spacing_mm[1], scan.spacing_mm[0], 1.0, 1.0])
    return np.asarray(read_header(scan.path).affine, np.float64)


def _write_nifti(scan: CountScan, expected: NDArray[Any], path: Path, description: str) -> None:
    image = nib.Nifti1Image(_as_volume(scan, expected), affine_of(scan))
    image.header["descrip"] = _NIFTI_NOTICE
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _write_nrrd(scan: CountScan, expected: NDArray[Any], path: Path, description: str) -> None:
    array = _as_volume(scan, expected)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    spacing, origin, direction = itk_from_ras(affine_of(scan), array.ndim)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    image.SetMetaData("notice", NOTICE)
    image.SetMetaData("description", description)
    sitk.WriteImage(image, str(path), imageIO="NrrdImageIO")


def _write_png(scan: CountScan, expected: NDArray[Any], path: Path, description: str) -> None:
    texts = PngInfo()
    texts.add_text("Comment", NOTICE)
    texts.add_text("Description", description)
    Image.fromarray(whole_counts(expected)[0]).save(path, format="PNG", pnginfo=texts)


def _as_volume(scan: CountScan, expected: NDArray[Any]) -> NDArray[np.float32]:
    """Return expected counts in the shape of their source, ``(X, Y)`` or ``(X, Y, V)``."""
    volume = np.asarray(expected, np.float32).transpose(2, 1, 0)
    flat = not dicom.is_dicom(scan.path) and len(read_header(scan.path).spatial_shape) == 2
    return volume[..., 0] if flat else volume
