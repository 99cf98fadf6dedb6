"""Find how the voxels of a label lie on the grid of its image, and say in what two grids differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats.pictures import AFFINE as PICTURE_AFFINE

SAME_GRID_VOXELS = 0.5
"""Largest distance in voxels between the corners of a label and the corners of its image."""
SAME_VOXELS = 0.1
"""The same for a part of a grid, which has no corners to compare: its voxels must lie on voxels of the image."""
SAME_AXES = 0.01
"""Largest difference between the directions of a label's axes and those of a picture."""
SHOWN_MM, SHOWN_DEGREES = 1e-3, 0.05
"""Smaller differences of origin, spacing and direction are not named."""


@dataclass(frozen=True)
class Placement:
    """How the voxels of a label lie on the grid of an image: exactly, after a change of order.

    Args:
        shape: Shape of the image, ``(X, Y, Z)``; a plane has Z = 1.
        axes: For each axis of the image, the axis of the label along it.
        flips: For each axis of the image, whether the label runs the other way.
        offset: Index in the image of the first voxel of the label, after `axes` and `flips`.
        size: Size of the label along the axes of the image.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    flips: tuple[bool, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def is_identity(self) -> bool:
        """Whether the label has exactly the voxels of the image, in the same order."""
        order = self.axes == (0, 1, 2) and not any(self.flips)
        return order and not any(self.offset) and self.size == self.shape

    def apply(self, voxels: NDArray[Any], name: str) -> NDArray[Any]:
        """Return the label ``(X, Y, Z)`` on the grid of the image; voxels that the label does not cover are 0.

        Args:
            voxels: The label in the order of its file, ``(X', Y', Z')``.
            name: Name of the label, for the message.
        Raises:
            InputRejected: LABEL_GRID if labelled voxels lie outside the image.
        """
        turned = voxels.transpose(self.axes)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        placed = np.zeros(self.shape, voxels.dtype)
        ends = [start + size for start, size in zip(self.offset, self.size, strict=True)]
        whole = tuple(
            slice(max(start, 0), max(min(end, size), 0))
            for start, end, size in zip(self.offset, ends, self.shape, strict=True)
        )
        part = tuple(
            slice(at.start - start, max(at.stop - start, at.start - start))
            for at, start in zip(whole, self.offset, strict=True)
        )
        placed[whole] = turned[part]
        outside = int(np.count_nonzero(turned)) - int(np.count_nonzero(placed))
        if outside:
            reason = f"{outside:,} labelled voxels of the label '{name}' lie outside its image."
            raise reject("LABEL_GRID", reason, "Remove the voxels outside the image, and save the label again.")
        return placed


def place(
    name: str,
    shape: Sequence[int],
    affine: NDArray[Any],
    image_shape: Sequence[int],
    image_affine: NDArray[Any],
    *,
    may_be_part: bool,
) -> Placement:
    """Return how a label lies on the grid of an image.

    Args:
        name: Name of the label, for the message.
        shape: Shape of the label, ``(X, Y)`` or ``(X, Y, Z)``.
        affine: Affine of the label, ``(4, 4)``, voxel index to RAS+ mm.
        image_shape: Shape of the image.
        image_affine: Affine of the image.
        may_be_part: Whether the label may cover a part of the image: a program that crops its files wrote it.
    Raises:
        InputRejected: LABEL_GRID, with what differs; BAD_AFFINE if the image has no valid affine.
    """
    sizes, target = ((*shape, 1)[:3], (*image_shape, 1)[:3])
    try:
        step = np.linalg.inv(image_affine) @ affine
    except np.linalg.LinAlgError:
        reason = "The orientation of the image is not valid: its affine has no inverse."
        raise reject("BAD_AFFINE", reason, "Export the image again with its geometry.") from None
    found = _find(step, sizes, target, may_be_part=may_be_part)
    if found is None or len(shape) > 3:
        differences = _differences(shape, affine, image_shape, image_affine)
        reason = f"The label '{name}' is not on the grid of its image: {differences}."
        raise reject("LABEL_GRID", reason, "Export the label again with the image as reference geometry.")
    return found


def place_in_picture(name: str, shape: Sequence[int], affine: NDArray[Any], image_shape: Sequence[int]) -> Placement:
    """Return how a label lies on a picture, which has no geometry: columns on columns and rows on rows.

    Spacing and position of the label say nothing, because programs take the resolution for prints for a spacing. A
    file whose geometry says that its rows or columns run the other way, or are exchanged, is turned.

    Args:
        name: Name of the label, for the message.
        shape: Shape of the label, ``(X, Y)`` or ``(X, Y, 1)``.
        affine: Affine of the label, ``(4, 4)``, voxel index to RAS+ mm.
        image_shape: Shape of the picture, ``(X, Y)``.
    Raises:
        InputRejected: LABEL_GRID for another size, or for axes that are turned and lie elsewhere.
    """
    sizes, target = ((*shape, 1)[:3], (*image_shape, 1)[:3])
    step = _pixel_step(affine)
    found = _find(step, sizes, target, may_be_part=False) if len(shape) <= 3 else None
    if found is None and sizes == target and np.isfinite(step).all():
        # A program that knows no geometry writes any origin, or NIfTI's own axes, which run the other way, at 0.
        runs_alike = np.allclose(step[:2, :2], np.eye(2), atol=SAME_AXES)
        is_flip = np.allclose(np.abs(step[:2, :2]), np.eye(2), atol=SAME_AXES)
        if runs_alike or (is_flip and np.abs(step[:2, 3]).max() <= SAME_GRID_VOXELS):
            found = Placement(target, (0, 1, 2), (False, False, False), (0, 0, 0), target)
    if found is None and sizes != target:
        reason = f"The label '{name}' has {_times(shape)} pixels, its image has {_times(image_shape)}."
        raise reject("LABEL_GRID", reason, "Export the label with the size of its image; columns come first.")
    if found is None:
        reason = (
            f"The label '{name}' ({_times(shape)} pixels) has axes {_codes(affine)} at {_point(affine)}, and its image "
            f"({_times(image_shape)}) has {_codes(PICTURE_AFFINE)} at (0, 0, 0)."
        )
        raise reject("LABEL_GRID", reason, "Export the label as PNG, or with the image as reference geometry.")
    return found


def _pixel_step(affine: NDArray[Any]) -> NDArray[Any]:
    """Return the matrix ``(4, 4)`` from label to picture indices if a pixel of the label is one of the picture."""
    lengths = np.linalg.norm(affine[:2, :2], axis=0)
    step = np.eye(4)
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = (PICTURE_AFFINE[:2, :2] @ affine[:2, :2]) / lengths  # the matrix of a picture is its own inverse
        step[:2, :2] = turn
        # The origin is measured along axes of the picture: in pixels of that label axis which lies along each.
        step[:2, 3] = PICTURE_AFFINE[:2, :2] @ affine[:2, 3] / (np.abs(turn) @ lengths)
    return step


def _find(
    step: NDArray[Any], sizes: tuple[int, ...], target: tuple[int, ...], *, may_be_part: bool
) -> Placement | None:
    turn = np.rint(step[:3, :3])
    if not np.isfinite(step).all() or not (np.abs(turn).sum(0) == 1).all() or not (np.abs(turn).sum(1) == 1).all():
        return None
    axes = tuple(int(axis) for axis in np.abs(turn).argmax(1))
    flips = tuple(bool(turn[row, axis] < 0) for row, axis in enumerate(axes))
    size = tuple(sizes[axis] for axis in axes)
    first = np.array([sizes[axis] - 1 if (turn[:, axis] < 0).any() else 0 for axis in range(3)])
    start = step[:3, :3] @ first + step[:3, 3]
    is_whole = size == target
    offset = np.zeros(3) if is_whole and np.abs(start).max() <= SAME_GRID_VOXELS else np.rint(start)
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in sizes], indexing="ij"), -1).reshape(-1, 3)
    exact = (corners - first) @ turn.T + offset
    drift = float(np.abs(corners @ step[:3, :3].T + step[:3, 3] - exact).max())
    fits = drift <= SAME_GRID_VOXELS if is_whole and not offset.any() else may_be_part and drift <= SAME_VOXELS
    return Placement(target, axes, flips, tuple(int(n) for n in offset), size) if fits else None


def _differences(
    shape: Sequence[int], affine: NDArray[Any], image_shape: Sequence[int], image_affine: NDArray[Any]
) -> str:
    """Return what differs between two grids, each with the value of the label and the value of the image."""
    spacings = [np.linalg.norm(grid[:3, :3], axis=0) for grid in (affine, image_affine)]
    facts = [
        ("size in voxels", tuple(shape) != tuple(image_shape), _times(shape), _times(image_shape)),
        ("spacing in mm", _differ(*spacings), *map(_times, spacings)),
        ("axes", _codes(affine) != _codes(image_affine), _codes(affine), _codes(image_affine)),
        ("origin in mm (RAS)", _differ(affine[:3, 3], image_affine[:3, 3]), *map(_point, (affine, image_affine))),
    ]
    found = [f"{what} {of_label}, the image has {of_image}" for what, differs, of_label, of_image in facts if differs]
    if _codes(affine) == _codes(image_affine) and (degrees := _angle(affine, image_affine)) > SHOWN_DEGREES:
        found.append(f"its axes are turned by {degrees:.1f} degrees")
    return "; ".join(found)


def _differ(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return not bool(np.abs(one - other).max() <= SHOWN_MM)


def _times(numbers: Any) -> str:
    return " x ".join(f"{number:g}" for number in np.round(np.asarray(numbers, np.float64), 4))


def _point(affine: NDArray[Any]) -> str:
    return f"({', '.join(f'{number:g}' for number in np.round(affine[:3, 3], 3))})"


def _codes(affine: NDArray[Any]) -> str:
    try:
        return "".join(str(code or "?") for code in nib.aff2axcodes(affine))
    except (ValueError, np.linalg.LinAlgError):
        return "not valid"


def _angle(affine: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest angle between the same axis of two grids, in degrees."""
    one, two = (grid[:3, :3] / np.linalg.norm(grid[:3, :3], axis=0) for grid in (affine, other))
    return float(np.rad2deg(np.arccos(np.clip((one * two).sum(0), -1, 1))).max())
