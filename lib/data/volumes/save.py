"""Write volumes in the format of the file suffix."""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from isal import isal_zlib
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from lib.data.files.atomic import replacing
from lib.data.formats.volume import NOTES, SLICE_ORIGINS, Volume
from lib.data.volumes.geometry import itk_from_ras

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".nrrd", ".mha")
PICTURE_SUFFIXES = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
"""Formats of pictures that store every value exactly, by suffix."""
GZIP_LEVEL = 1
"""Labels compress well at any level; higher levels are slower and save little."""


def write_series(volume: Volume, folder: Path, name: str) -> Path:
    """Write the volume of a DICOM series atomically as one file, and return it.

    Returns:
        ``<name>.nii.gz``; or ``<name>.nrrd`` with its notes, and with the positions of its slices if they are not on a
        regular grid.
    """
    if volume.origins is None and not volume.notes:
        return write_volume(volume.voxels, volume.affine, folder / f"{name}.nii.gz")
    path = folder / f"{name}.nrrd"
    with replacing(path) as temporary:
        image = _itk_image(volume.voxels, volume.affine)
        if volume.origins is not None:
            image.SetMetaData(SLICE_ORIGINS, " ".join(f"{value:.6f}" for value in volume.origins.ravel()))
        image.SetMetaData(NOTES, " ".join(volume.notes))
        sitk.WriteImage(image, str(temporary), useCompression=True, imageIO="NrrdImageIO")
    return path


def write_volume(array: NDArray[Any], affine: ArrayLike, path: str | Path) -> Path:
    """Write an array ``(X, Y)`` or ``(X, Y, Z)`` atomically, in the format of the suffix.

    The same input always gives the same bytes of a NIfTI file. NRRD and MetaImage files are not compressed, because the
    viewers expect that.

    Args:
        array: Voxels in the type to store; for a picture one slice, uint8 or uint16.
        affine: ``(4, 4)``, voxel index to RAS+ mm.
        path: Output file: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``; or ``.png``, ``.tif``, ``.tiff`` for a grey
            picture, which holds no affine.
    Returns:
        The path of the file.
    Raises:
        ValueError: If the suffix is unknown, or a picture cannot hold the array.
    """
    path = Path(path)
    _writer(path)
    with replacing(path) as temporary:
        write_temporary_volume(array, affine, temporary)
    return path


def write_temporary_volume(array: NDArray[Any], affine: ArrayLike, path: str | Path) -> None:
    """Write an array as `write_volume` does, but neither atomically nor synchronised to disk, for temporary files.

    Raises:
        ValueError: If the suffix is unknown, or a picture cannot hold the array.
    """
    _writer(Path(path))(array, np.asarray(affine, np.float64), Path(path))


def _writer(path: Path) -> Callable[[NDArray[Any], NDArray[Any], Path], None]:
    name, known = path.name.lower(), (*NIFTI_SUFFIXES, *ITK_SUFFIXES, *PICTURE_SUFFIXES)
    if not name.endswith(known):
        raise ValueError(f"cannot write '{path.name}': use one of {', '.join(known)}")
    if name.endswith(tuple(PICTURE_SUFFIXES)):
        return _write_picture
    return _write_nifti if name.endswith(NIFTI_SUFFIXES) else _write_itk


def _write_nifti(array: NDArray[Any], affine: NDArray[Any], path: Path) -> None:
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    # A quaternion cannot say that slices are shifted sideways: it would contradict the affine.
    image.set_qform(affine, code=1 if np.allclose(image.get_qform(), affine, atol=1e-3) else 0)
    data = image.to_bytes()
    if path.name.endswith(".gz"):
        packer = isal_zlib.compressobj(GZIP_LEVEL, wbits=31)
        data = packer.compress(data) + packer.flush()
    path.write_bytes(data)


def _write_picture(array: NDArray[Any], affine: NDArray[Any], path: Path) -> None:
    if array.size != prod(array.shape[:2]) or array.dtype not in (np.uint8, np.uint16):
        found = f"{array.dtype} voxels of shape {array.shape}"
        raise ValueError(f"cannot write '{path.name}': a picture holds one slice of uint8 or uint16, not {found}")
    plane = np.ascontiguousarray(array.reshape(array.shape[:2]).T)
    Image.fromarray(plane).save(path, format=PICTURE_SUFFIXES[path.suffix.lower()])


def _write_itk(array: NDArray[Any], affine: NDArray[Any], path: Path) -> None:
    sitk.WriteImage(_itk_image(array, affine), str(path), useCompression=False)


def _itk_image(array: NDArray[Any], affine: NDArray[Any]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    spacing_mm, origin_mm, direction = itk_from_ras(affine, array.ndim)
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin_mm)
    image.SetDirection(direction)
    return image
