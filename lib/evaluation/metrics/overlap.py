"""Measure the overlap of two masks: Dice and intersection over union."""

import math

import numpy as np
import numpy.typing as npt


def dice(prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> float:
    """Return 2 |P and R| / (|P| + |R|).

    Args:
        prediction: Boolean mask, ``(*S)``.
        reference: Boolean mask, ``(*S)``.
    Returns:
        A number in [0, 1]; nan if both masks are empty: without a structure there is no score.
    Raises:
        ValueError: If the shapes differ.
    """
    common, total = _counts(prediction, reference)
    return 2 * common / total if total else math.nan


def iou(prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> float:
    """Return |P and R| / |P or R|.

    Args:
        prediction: Boolean mask, ``(*S)``.
        reference: Boolean mask, ``(*S)``.
    Returns:
        A number in [0, 1]; nan if both masks are empty.
    Raises:
        ValueError: If the shapes differ.
    """
    common, total = _counts(prediction, reference)
    return common / (total - common) if total else math.nan


def _counts(prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> tuple[int, int]:
    if prediction.shape != reference.shape:
        raise ValueError(f"expected masks on one grid, got shapes {prediction.shape} and {reference.shape}")
    common = np.count_nonzero(prediction & reference)
    return int(common), int(np.count_nonzero(prediction) + np.count_nonzero(reference))
