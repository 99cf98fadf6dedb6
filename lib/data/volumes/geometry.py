"""Convert voxel geometry between RAS+ mm, as in NIfTI and MONAI, and LPS mm, as in ITK and DICOM."""

from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def ras_from_itk(spacing_mm: Sequence[float], origin_mm: Sequence[float], direction: Sequence[float]) -> NDArray[Any]:
    """Return the RAS+ affine ``(4, 4)`` of an ITK geometry in LPS; axes after the third are ignored."""
    dims = len(spacing_mm)
    kept = min(dims, 3)
    cosines = np.eye(3)
    cosines[:kept, :kept] = np.reshape(direction, (dims, dims))[:kept, :kept]
    lps = np.eye(4)
    lps[:3, :3] = cosines * np.array([*spacing_mm[:kept], *[1.0] * (3 - kept)])
    lps[:kept, 3] = origin_mm[:kept]
    return LPS_TO_RAS @ lps


def itk_from_ras(affine: ArrayLike, dims: int) -> tuple[list[float], list[float], list[float]]:
    """Return spacing, origin and direction in LPS of a RAS+ affine, for an ITK image with `dims` axes."""
    lps = LPS_TO_RAS @ np.asarray(affine, np.float64)
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    direction = (lps[:3, :3] / spacing_mm)[:dims, :dims]
    if dims == 2 and abs(np.linalg.det(direction)) < 0.5:
        direction = np.eye(2)  # ITK cannot express this plane with two axes, for example a coronal plane
    return spacing_mm[:dims].tolist(), lps[:dims, 3].tolist(), direction.ravel().tolist()


def largest_shift(affine: ArrayLike, other: ArrayLike, shape: Sequence[int]) -> float:
    """Return the largest distance between the places of a voxel by two affines, in voxels of the first.

    Args:
        affine: ``(4, 4)``; must have an inverse.
        other: ``(4, 4)``.
        shape: Number of voxels along each axis; axes after the third are ignored.
    """
    sizes = (*shape, 1, 1, 1)[:3]
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in sizes]), -1).reshape(-1, 3)
    moved = np.linalg.solve(np.asarray(affine, np.float64), np.asarray(other, np.float64))
    return float(np.abs(corners @ moved[:3, :3].T + moved[:3, 3] - corners).max())


def turn_to_ras(voxels: NDArray[Any], affine: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return voxels ``(X, Y, Z)`` in the order and direction closest to RAS+, without resampling, and their affine.

    Args:
        voxels: ``(X, Y)`` or ``(X, Y, Z)``, in the order of the file; an image of one slice gets a third axis.
        affine: Affine ``(4, 4)``, voxel index to RAS+ mm.
    """
    voxels, affine = voxels.reshape((*voxels.shape, 1)[:3]), np.asarray(affine, np.float64)
    turn = nib.io_orientation(affine)
    return nib.apply_orientation(voxels, turn), affine @ nib.orientations.inv_ornt_aff(turn, voxels.shape)
