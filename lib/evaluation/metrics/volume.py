"""Measure volumes in ml: of a mask, and of two kinds of false positives that overlap scores hide."""

import math
from collections.abc import Sequence

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

MM3_PER_ML = 1000.0


def volume_ml(mask: npt.NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Return the volume of `mask`.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``; a 2-D mask is allowed.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Volume in ml; nan for a 2-D mask.
    """
    if mask.ndim != 3:
        return math.nan
    return float(np.count_nonzero(mask) * math.prod(spacing_mm) / MM3_PER_ML)


def outside_ml(prediction: npt.NDArray[np.bool_], hull: npt.NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Return the predicted volume outside the body: cloth, table, room air.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)``.
        hull: Inside of the body from `lib.evaluation.baselines.threshold.hull`, ``(X, Y, Z)``.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Volume in ml.
    """
    return volume_ml(prediction & ~hull, spacing_mm)


def unconnected_ml(
    prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_], spacing_mm: Sequence[float]
) -> float:
    """Return the volume of the predicted components (26-neighbourhood) that do not touch the reference.

    A component touches the reference if they share a voxel or have neighbouring voxels.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)``; a 2-D mask is allowed.
        reference: Boolean mask, same shape. Include the ignored voxels, because a component on them may be correct.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Volume in ml; nan for 2-D masks.
    """
    if not prediction.any():
        return volume_ml(prediction, spacing_mm)
    parts = np.asarray(cc3d.connected_components(prediction, connectivity=26 if prediction.ndim == 3 else 8))
    near = np.asarray(ndimage.binary_dilation(reference, np.ones((3,) * reference.ndim, bool)), bool)
    lost = np.ones(int(parts.max()) + 1, bool)
    lost[np.unique(parts[near])] = False
    lost[0] = False
    return volume_ml(lost[parts], spacing_mm)
