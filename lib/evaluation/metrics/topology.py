"""Measure the topology of a mask: hard clDice, Betti numbers, and the detected branches of a tree."""

import math
from typing import Literal

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.evaluation.metrics.crop import bounding_box
from lib.ops.skeleton import skeleton

Mask = npt.NDArray[np.bool_]

SHORTEST_BRANCH_VOXELS = 5
DETECTED_PERCENT = 80

Connectivity = Literal[4, 6, 8, 18, 26]


def cl_dice(prediction: Mask, reference: Mask) -> float:
    """Return the harmonic mean of the shares of each skeleton that lie inside the other mask.

    Args:
        prediction: Boolean mask, ``(*S)``, 2-D or 3-D.
        reference: Boolean mask, ``(*S)``.
    Returns:
        A number in [0, 1]: 1 for equal masks, 0 if one mask is empty (the structure is missed or invented), and nan if
        both are empty, which is no score.
    Source:
        Shit et al. 2021, arXiv:2003.07311, eq. 1, with exact skeletons.
    """
    if not prediction.any() and not reference.any():
        return math.nan
    if not prediction.any() or not reference.any():
        return 0.0
    precision = float(reference[skeleton(prediction)].mean())
    sensitivity = float(prediction[skeleton(reference)].mean())
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def betti_numbers(mask: Mask) -> tuple[int, int, int]:
    """Return the numbers of components, tunnels and cavities.

    Foreground voxels are connected over 26 neighbours, background voxels over 6. b0 and b2 are counted; b1 follows from
    the Euler characteristic, chi = b0 - b1 + b2. In 2-D (8 and 4 neighbours) a hole is a tunnel, and b2 is 0.

    Args:
        mask: Boolean mask, ``(X, Y, Z)`` or ``(X, Y)``.
    Returns:
        ``(b0, b1, b2)``.
    """
    from skimage.measure import euler_number

    if not mask.any():
        return 0, 0, 0
    inside = mask[bounding_box(mask)]
    # The empty rim connects the outer background into one component, and surrounds a 2-D mask with background slices.
    solid = np.pad(inside if inside.ndim == 3 else inside[..., None], 1)
    b0 = _count(solid, 26)
    b2 = _count(~solid, 6) - 1
    return b0, b0 + b2 - int(euler_number(solid, connectivity=3)), b2


def betti_errors(prediction: Mask, reference: Mask) -> tuple[int, int, int]:
    """Return the absolute differences of the Betti numbers.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)`` or ``(X, Y)``.
        reference: Boolean mask, same shape.
    Returns:
        Errors of ``(b0, b1, b2)``.
    """
    found, expected = betti_numbers(prediction), betti_numbers(reference)
    return abs(found[0] - expected[0]), abs(found[1] - expected[1]), abs(found[2] - expected[2])


def largest_component(mask: Mask, connectivity: Connectivity = 26) -> Mask:
    """Return the component of `mask` with the most voxels.

    Args:
        mask: Boolean mask, ``(X, Y, Z)`` or ``(X, Y)``.
        connectivity: 6, 18 or 26 in 3-D, 4 or 8 in 2-D.
    Returns:
        Boolean mask of the same shape; empty if `mask` is empty.
    """
    if not mask.any():
        return mask.copy()
    return cc3d.largest_k(mask, k=1, connectivity=connectivity, binary_image=True).astype(bool)


def branches(centreline: Mask) -> npt.NDArray[np.int32]:
    """Split a skeleton into its branches.

    A skeleton voxel with more than two skeleton neighbours is a junction and belongs to no branch. The connected pieces
    of the other voxels are the branches; pieces with fewer than `SHORTEST_BRANCH_VOXELS` voxels are spurs and dropped.

    Args:
        centreline: Boolean skeleton, ``(*S)``.
    Returns:
        Branch number of each voxel, ``(*S)``, from 1; 0 outside the branches.
    Source:
        The parsing of the ATM'22 challenge, arXiv:2303.05745.
    """
    block = np.ones((3,) * centreline.ndim, np.uint8)
    around = ndimage.convolve(centreline.astype(np.uint8), block, mode="constant") - centreline
    pieces = np.zeros(centreline.shape, np.int32)
    ndimage.label(centreline & (around <= 2), block, output=pieces)
    sizes = np.bincount(pieces.ravel())
    keep = sizes >= SHORTEST_BRANCH_VOXELS
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[pieces]


def tree_length_detected(prediction: Mask, reference: Mask) -> float:
    """Return the tree length detected (TD): the share of reference skeleton voxels in the largest predicted component.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)`` or ``(X, Y)``.
        reference: Boolean mask, same shape.
    Returns:
        A number in [0, 1]; nan if the reference is empty.
    Source:
        ATM'22, arXiv:2303.05745.
    """
    return tree_scores(prediction, reference)[0]


def branches_detected(prediction: Mask, reference: Mask) -> float:
    """Return the branches detected (BD): the share of reference branches with at least 80 % of their voxels predicted.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)`` or ``(X, Y)``; only the largest component counts.
        reference: Boolean mask, same shape.
    Returns:
        A number in [0, 1]; nan if the reference has no branches.
    Source:
        ATM'22, arXiv:2303.05745.
    """
    return tree_scores(prediction, reference)[1]


def tree_scores(prediction: Mask, reference: Mask) -> tuple[float, float]:
    """Return `tree_length_detected` and `branches_detected` from one skeleton.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)`` or ``(X, Y)``.
        reference: Boolean mask, same shape.
    Returns:
        TD and BD, each in [0, 1] or nan.
    """
    box = bounding_box(reference, margin=1)
    centreline = skeleton(reference[box])
    found = largest_component(prediction, 26 if prediction.ndim == 3 else 8)[box]
    length = float(found[centreline].mean()) if centreline.any() else math.nan
    return length, _branch_share(branches(centreline), found) if centreline.any() else math.nan


def _branch_share(numbered: npt.NDArray[np.int32], found: Mask) -> float:
    total = np.bincount(numbered.ravel())[1:]
    hit = np.bincount(numbered[found], minlength=len(total) + 1)[1:]
    # In integers, so that 4 of 5 voxels are exactly 80 %.
    return float(np.mean(100 * hit >= DETECTED_PERCENT * total)) if len(total) else math.nan


def _count(mask: Mask, connectivity: Connectivity) -> int:
    return int(np.max(cc3d.connected_components(mask, connectivity=connectivity)))
