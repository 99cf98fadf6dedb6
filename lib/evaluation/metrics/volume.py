"""Volumes in millilitres: of a mask, and of the two kinds of false positive that overlap scores hide."""

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
        Millilitres; nan for a 2-D mask, which has an area only.
    """
    if mask.ndim != 3:
        return math.nan
    return float(np.count_nonzero(mask) * math.prod(spacing_mm) / MM3_PER_ML)


def outside_ml(prediction: npt.NDArray[np.bool_], hull: npt.NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Return the predicted volume outside the body hull: cloth, table, the air of the room.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)``.
        hull: Inside of the body, ``(X, Y, Z)``, as of `lib.evaluation.baselines.threshold.hull`.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Millilitres.
    """
    return volume_ml(prediction & ~hull, spacing_mm)


def unconnected_ml(
    prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_], spacing_mm: Sequence[float]
) -> float:
    """Return the volume of predicted components (26-neighbourhood) that do not touch the reference.

    To touch is to share a voxel or to be neighbours.

    Args:
        prediction: Boolean mask, ``(X, Y, Z)``; a 2-D mask is allowed.
        reference: Boolean mask, same shape. Add the ignored voxels to it: what hangs on them is not known to be wrong.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Millilitres; nan for 2-D masks.
    """
    if not prediction.any():
        return volume_ml(prediction, spacing_mm)
    parts = np.asarray(cc3d.connected_components(prediction, connectivity=26 if prediction.ndim == 3 else 8))
    near = np.asarray(ndimage.binary_dilation(reference, np.ones((3,) * reference.ndim, bool)), bool)
    lost = np.ones(int(parts.max()) + 1, bool)
    lost[np.unique(parts[near])] = False
    lost[0] = False
    return volume_ml(lost[parts], spacing_mm)
