"""Open image files of all accepted formats as a `Volume`, in the voxel order of the file and RAS+ millimetres."""

import os
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats import dicom, itk_files, nifti
from lib.data.formats.claims import DEFLATE_RATIO, PICTURE_RATIO, check_claim
from lib.data.formats.pictures import INDICES, PALETTE, PICTURE_SUFFIXES, read_indices
from lib.data.formats.volume import Header, Volume

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", *PICTURE_SUFFIXES)
DICOM_SUFFIXES = (".dcm",)
SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES, *DICOM_SUFFIXES)
_READERS = {"nifti": nifti, "itk": itk_files, "dicom": dicom}
_PACKED_RATIO = {"nifti": DEFLATE_RATIO, "itk": PICTURE_RATIO, "dicom": PICTURE_RATIO}

__all__ = [
    "PICTURE_SUFFIXES",
    "SUFFIXES",
    "Header",
    "Volume",
    "format_of",
    "load",
    "load_layers",
    "read_header",
    "read_label_header",
    "stem",
]


def stem(path: Path) -> str:
    """Return the file name without its image suffix (``case.nii.gz`` gives ``case``)."""
    suffix = next((s for s in SUFFIXES[::-1] if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)]


def format_of(path: Path) -> str:
    """Return the format of a readable path: ``nifti``, ``itk`` or ``dicom``.

    Raises:
        InputRejected: UNREADABLE or NOT_AN_IMAGE.
    """
    if not path.exists():
        raise reject("UNREADABLE", f"There is no file '{path.name}'.", "Check the name and the studies folder.")
    if not os.access(path, os.R_OK):
        raise reject(
            "UNREADABLE",
            f"The server may not read '{path.name}'.",
            "Give the user that runs the server read permission.",
        )
    name = path.name.lower()
    if path.is_dir() or name.endswith(DICOM_SUFFIXES):
        return "dicom"
    if name.endswith(NIFTI_SUFFIXES):
        return "nifti"
    if name.endswith(ITK_SUFFIXES):
        return "itk"
    if dicom.is_dicom(path):
        return "dicom"
    raise reject(
        "NOT_AN_IMAGE", f"'{path.name}' has no known suffix and no DICOM marker.", f"Send one of {', '.join(SUFFIXES)}."
    )


def read_header(path: str | Path) -> Header:
    """Return shape, affine and format of an image without loading its voxels.

    Raises:
        InputRejected: UNREADABLE, NOT_AN_IMAGE, TRUNCATED, TOO_LARGE, BAD_AFFINE, AMBIGUOUS_AFFINE, WRONG_DIMENSION,
            MANY_SERIES or MANY_PATIENTS.
    """
    path = Path(path)
    kind = format_of(path)
    try:
        return _READERS[kind].read_header(path)
    except OSError as error:
        remedy = "Check permissions and the disk."
        raise reject("UNREADABLE", f"'{path.name}': {error.strerror or error}.", remedy) from error


def read_label_header(path: str | Path) -> Header:
    """Return the header of a label file: a PNG with a palette has one value per pixel, its index.

    Raises:
        InputRejected: As `read_header`.
    """
    header = read_header(path)
    if not header.in_pixels or header.details != PALETTE:
        return header
    return replace(header, components=1, bytes_per_voxel=1, details=INDICES)


def load(path: str | Path, header: Header | None = None) -> Volume:
    """Return the voxels of an image on the grid of the file, after slope and intercept of the file.

    Args:
        path: A file, or the folder of one DICOM series.
        header: The header of the image if it was read before.
    Returns:
        A volume with voxels as uint8, int16 or float32, ``(X, Y)`` or ``(X, Y, Z)``; a colour image has one array for
        each of its channels.
    Raises:
        InputRejected: TRUNCATED, TOO_LARGE, or any code of `read_header`.
    """
    path = Path(path)
    header = header or read_header(path)
    voxels = _read_voxels(path, header)
    if voxels.dtype not in (np.uint8, np.int16):
        voxels = voxels.astype(np.float32, copy=False)
    if header.components == 1:
        return Volume(voxels.reshape(header.spatial_shape, order="F"), header.affine, header)
    first, *others = voxels.reshape((header.components, *header.spatial_shape), order="F")
    return Volume(first, header.affine, header, tuple(others))


def load_layers(path: str | Path, header: Header) -> tuple[NDArray[Any], ...]:
    """Return the values of each voxel as one array per value: the layers of a segmentation with several layers.

    Args:
        path: A file.
        header: Its header, from `read_label_header`.
    Returns:
        One array for each of the header's components, in the stored type: float32 would round 4.99999999 to 5.
    Raises:
        InputRejected: As `load`.
    """
    voxels = _read_voxels(Path(path), header)
    if header.in_pixels and isinstance(header.details, int):
        voxels = voxels // header.details
    return tuple(voxels.reshape((header.components, *header.spatial_shape), order="F"))


def _read_voxels(path: Path, header: Header) -> NDArray[Any]:
    check_claim(header, _PACKED_RATIO[header.kind])
    try:
        as_indices = header.in_pixels and header.details == INDICES
        voxels = read_indices(path) if as_indices else _READERS[header.kind].read_voxels(path, header)
    except OSError as error:
        remedy = "Check permissions and the disk."
        raise reject("UNREADABLE", f"'{path.name}': {error.strerror or error}.", remedy) from error
    if voxels.dtype.kind not in "biuf" or voxels.size != prod(header.shape) * header.components:
        reason = f"'{path.name}' announces {header.shape} with {header.components} values each, and holds other voxels."
        raise reject("WRONG_DIMENSION", reason, "Export the image again, without complex numbers or vectors.")
    return voxels
