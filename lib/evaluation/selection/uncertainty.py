"""Measure the uncertainty of several predictions: entropy and mutual information per voxel, and means per case.

A mean over the whole volume would shrink with each slice of air in the scan. The two means here do not: one is over
the region of interest, the other over the most uncertain millilitre.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from lib.evaluation.metrics.crop import bounding_box
from lib.evaluation.metrics.volume import MM3_PER_ML
from lib.ops.resample import running_argmax

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class SampleSummary:
    """Summary of T predictions per voxel.

    Args:
        entropy: Entropy of the mean prediction in nats, the total uncertainty, ``(*S)``.
        information: Mutual information in nats, the disagreement of the predictions, ``(*S)``.
        foreground: Mean probability of all classes except background, ``(*S)``.
        label: Class of the mean prediction, ``(*S)``.
        labels: Class of each prediction, ``(T, *S)``.
    """

    entropy: torch.Tensor
    information: torch.Tensor
    foreground: torch.Tensor
    label: torch.Tensor
    labels: torch.Tensor


def summarise_samples(logits: torch.Tensor) -> SampleSummary:
    """Return the summary of T predictions.

    Args:
        logits: Logits of the predictions, ``(T, K, *S)``; class 0 is the background.
    Source:
        Houlsby et al. 2011, arXiv:1112.5745 (BALD): I = H[mean p] - mean H[p].
    """
    log_prob = logits.log_softmax(dim=1)
    prob = log_prob.exp()
    mean = prob.mean(dim=0)
    entropy = torch.special.entr(mean).sum(dim=0)
    mean_entropy = -(prob * log_prob).sum(dim=1).mean(dim=0)
    return SampleSummary(
        entropy=entropy,
        # Where all predictions agree, rounding errors can make it negative.
        information=(entropy - mean_entropy).clamp_(min=0),
        foreground=1 - mean[0],
        label=running_argmax(mean),
        labels=running_argmax(logits.movedim(1, 0)),
    )


def top_mean(values: Map, spacing_mm: Sequence[float], top_ml: float) -> float:
    """Return the mean of the largest values, over the number of voxels that fill `top_ml`.

    The volume is physical: neither more air around the structure nor finer voxels change the result.

    Args:
        values: Values, ``(X, Y, Z)``, or the values of some voxels in any order.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
        top_ml: Volume in ml; all voxels if there are fewer, and at least one voxel.
    Returns:
        The mean; nan without a voxel.
    """
    flat = np.asarray(values, np.float32).ravel()
    count = min(flat.size, max(1, round(top_ml * MM3_PER_ML / math.prod(spacing_mm))))
    if not count:
        return math.nan
    return float(np.partition(flat, flat.size - count)[flat.size - count :].mean(dtype=np.float64))


def region(mask: Mask, spacing_mm: Sequence[float], margin_mm: float) -> tuple[tuple[slice, ...], Mask]:
    """Return the voxels of a mask and all voxels within `margin_mm` of the mask, in a box.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
        margin_mm: Distance in mm.
    Returns:
        The box, which is empty for an empty mask, and the boolean mask of the region in the box.
    """
    if not mask.any():
        return bounding_box(mask), np.zeros((0,) * mask.ndim, bool)
    tight = bounding_box(mask)
    reach = [math.ceil(margin_mm / step) for step in spacing_mm]
    box = tuple(
        slice(max(0, side.start - steps), min(size, side.stop + steps))
        for side, steps, size in zip(tight, reach, mask.shape, strict=True)
    )
    distance = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm)
    return box, np.asarray(distance) <= margin_mm
