"""Bring one image onto the voxels of another, by their places in space."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.data.findings import reject
from lib.data.formats.volume import Volume
from lib.data.volumes.geometry import largest_shift
from lib.data.volumes.straight import StraightGrid

SAME_GRID_VOXELS = 0.05
"""Largest distance between the voxels of two grids that count as the same one, in voxels."""
MIN_COVERED = 0.5
"""Least fraction of an image that another image of the same patient must cover."""


def overlay(image: Volume, onto: Volume, name: str) -> NDArray[Any]:
    """Return the first channel of an image on the voxels of another image.

    On the same grid the voxels are returned as they are. Otherwise they are interpolated linearly, float32, after
    smoothing along axes on which they are finer. Outside of the image the result has the image's lowest value.

    Args:
        image: The image to bring over.
        onto: The image whose voxels are kept.
        name: Name of the first image, for messages.
    Raises:
        InputRejected: CHANNEL_GRID if the image covers too little of the other, or pictures differ in size.
    """
    same = image.voxels.shape == onto.voxels.shape and image.origins is None and onto.origins is None
    if same and (image.in_pixels or largest_shift(image.affine, onto.affine, onto.voxels.shape) <= SAME_GRID_VOXELS):
        return image.voxels
    if image.in_pixels or onto.in_pixels:
        reason = f"'{name}' has {image.voxels.shape} pixels, and its image {onto.voxels.shape}."
        raise reject("CHANNEL_GRID", reason, "Pictures have no geometry: send all channels in one size.")
    voxels, affine = _straight(image)
    shape = (*onto.voxels.shape, 1)[:3]
    step = np.linalg.norm(onto.affine[:3, :3], axis=0), np.linalg.norm(affine[:3, :3], axis=0)
    inverse = np.linalg.inv(affine)
    directions = inverse[:3, :3] @ onto.affine[:3, :3]
    lowest = float(voxels.min())
    smooth = _smoothed(voxels.astype(np.float32), directions, step)
    result, inside = np.empty(shape, np.float32), 0
    for k in range(shape[2]):
        start = inverse[:3] @ np.append(_origin(onto, k), 1.0)
        matrix = np.column_stack([directions[:, :2], np.zeros(3)])
        result[..., k] = ndimage.affine_transform(
            smooth, matrix, start.tolist(), (*shape[:2], 1), order=1, mode="constant", cval=lowest
        )[..., 0]
        inside += _count_inside(start, directions, shape, voxels.shape)
    if inside < MIN_COVERED * np.prod(shape):
        reason = f"'{name}' covers {inside / np.prod(shape):.0%} of its image."
        raise reject("CHANNEL_GRID", reason, "Send channels of one examination, which show the same part of the body.")
    return result.reshape(onto.voxels.shape)


def _straight(image: Volume) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return voxels ``(X, Y, Z)`` on a grid with right angles, and its affine."""
    voxels = image.voxels.reshape((*image.voxels.shape, 1)[:3])
    if image.origins is None:
        return voxels, image.affine
    grid = StraightGrid(voxels.shape, image.affine, image.origins)
    return grid.image(voxels), grid.affine


def _origin(image: Volume, k: int) -> NDArray[Any]:
    """Return the place of the first voxel of slice `k`, in RAS+ mm."""
    return image.affine[:3, 3] + k * image.affine[:3, 2] if image.origins is None else image.origins[k]


def _smoothed(
    voxels: NDArray[np.float32], directions: NDArray[np.float64], steps: tuple[NDArray[Any], NDArray[Any]]
) -> NDArray[np.float32]:
    """Return voxels smoothed along each axis by how much coarser the other grid is there."""
    wanted_mm, own_mm = steps
    # The axis of the other grid that is closest to each own axis.
    nearest = np.abs(directions * own_mm[:, None] / wanted_mm).argmax(1)
    sigma = np.maximum(0.0, (wanted_mm[nearest] / own_mm - 1) / 2) * (np.array(voxels.shape) > 1)
    if not sigma.any():
        return voxels
    return np.asarray(ndimage.gaussian_filter(voxels, sigma, mode="nearest"), np.float32)


def _count_inside(
    start: NDArray[np.float64], directions: NDArray[np.float64], shape: tuple[int, ...], size: tuple[int, ...]
) -> int:
    """Return how many voxels of a slice lie inside a volume of a size, half a voxel around it included."""
    x, y = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    places = [start[d] + directions[d, 0] * x + directions[d, 1] * y for d in range(3)]
    within = [(place >= -0.5) & (place <= n - 0.5) for place, n in zip(places, size, strict=True)]
    return int((within[0] & within[1] & within[2]).sum())
