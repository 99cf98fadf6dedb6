"""Measure the distance between two surfaces: normalised surface Dice (NSD) and 95th percentile Hausdorff distance.

A surface voxel is a mask voxel with a face neighbour outside the mask; the outside of the array is outside the mask.
Its position is its centre. A k-d tree finds the nearest surface voxel, so the time does not depend on the empty part of
the volume.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from lib.evaluation.metrics.crop import bounding_box

Mask = npt.NDArray[np.bool_]


def nsd(prediction: Mask, reference: Mask, spacing_mm: Sequence[float], tolerance_mm: float) -> float:
    """Return the share of both surfaces that lies within `tolerance_mm` of the other.

    Surface voxels are counted. Nikolov et al. weight pieces of a surface between the voxels by their area; their score
    differs, by up to 0.28 on surfaces that are less than a voxel apart. A tolerance below the voxel spacing accepts
    nothing but equal voxels along that axis: `lib.evaluation.report` refuses it.

    Args:
        prediction: Boolean mask, ``(*S)``.
        reference: Boolean mask, ``(*S)``.
        spacing_mm: Voxel spacing per axis, in mm.
        tolerance_mm: Largest distance that still counts as agreement.
    Returns:
        A number in [0, 1]; 0 if one mask is empty, nan if both are empty.
    Raises:
        ValueError: If shapes or the length of `spacing_mm` differ.
    Source:
        Nikolov et al. 2018, arXiv:1809.04430, with voxel counts in place of surface areas, as MONAI's default.
    """
    return surface_scores(prediction, reference, spacing_mm, tolerance_mm)[0]


def hd95(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> float:
    """Return the larger of the two directed 95th percentile surface distances.

    Args:
        prediction: Boolean mask, ``(*S)``.
        reference: Boolean mask, ``(*S)``.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Distance in mm; inf if one mask is empty (no distance exists), nan if both are empty.
    Raises:
        ValueError: If shapes or the length of `spacing_mm` differ.
    """
    return surface_scores(prediction, reference, spacing_mm, 0.0)[1]


def surface_scores(
    prediction: Mask, reference: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> tuple[float, float]:
    """Return `nsd` and `hd95` from one computation of the distances.

    Args:
        prediction: Boolean mask, ``(*S)``.
        reference: Boolean mask, ``(*S)``.
        spacing_mm: Voxel spacing per axis, in mm.
        tolerance_mm: Largest distance that still counts as agreement, for the NSD.
    Returns:
        The NSD in [0, 1] and the HD95 in mm.
    Raises:
        ValueError: If shapes or the length of `spacing_mm` differ.
    """
    if prediction.shape != reference.shape or len(spacing_mm) != reference.ndim:
        raise ValueError(
            f"prediction {prediction.shape}, reference {reference.shape} and spacing {tuple(spacing_mm)} do not match;"
            " expected one shape and one spacing per axis"
        )
    predicted, expected = _surface_points(prediction, spacing_mm), _surface_points(reference, spacing_mm)
    if not len(predicted) and not len(expected):
        return math.nan, math.nan
    if not len(predicted) or not len(expected):
        return 0.0, math.inf
    forth, back = _nearest_mm(predicted, expected), _nearest_mm(expected, predicted)
    close = np.count_nonzero(forth <= tolerance_mm) + np.count_nonzero(back <= tolerance_mm)
    return close / (len(forth) + len(back)), float(max(np.percentile(forth, 95), np.percentile(back, 95)))


def _surface_points(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    box = bounding_box(mask)
    inside = mask[box]
    surface = inside & ~np.asarray(ndimage.binary_erosion(inside), bool)
    places = np.asarray(np.argwhere(surface), np.float64)
    places += [side.start for side in box]
    places *= spacing_mm
    return places


def _nearest_mm(points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(KDTree(others).query(points)[0], np.float64)
