"""How sure several answers are together: entropy, mutual information, and one number for a case.

The mean over a whole volume shrinks with every slice of air that a scan shows. The two numbers here do not: the mean
over the region of interest, and the mean over the most uncertain millilitre, wherever it lies.
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
class Opinion:
    """What several answers say of some voxels, ``(*S)`` each, and ``(T, *S)`` for the labels.

    Args:
        entropy: Of the mean answer, in nats: all uncertainty.
        information: Mutual information of answer and label, in nats: how much the answers contradict each other.
        foreground: Mean probability of anything but background.
        label: The class of the mean answer.
        labels: The class of each answer.
    """

    entropy: torch.Tensor
    information: torch.Tensor
    foreground: torch.Tensor
    label: torch.Tensor
    labels: torch.Tensor


def opinion(logits: torch.Tensor) -> Opinion:
    """Return what several answers say together.

    Args:
        logits: ``(T, K, *S)``, class 0 the background.
    Source:
        Houlsby et al. 2011, arXiv:1112.5745 (BALD): I = H[mean p] - mean H[p].
    """
    log_prob = logits.log_softmax(dim=1)
    prob = log_prob.exp()
    mean = prob.mean(dim=0)
    entropy = torch.special.entr(mean).sum(dim=0)
    own = -(prob * log_prob).sum(dim=1).mean(dim=0)
    return Opinion(
        entropy=entropy,
        # Rounding alone would make it negative where all agree.
        information=(entropy - own).clamp_(min=0),
        foreground=1 - mean[0],
        label=running_argmax(mean),
        labels=running_argmax(logits.movedim(1, 0)),
    )


def top_mean(values: Map, spacing_mm: Sequence[float], top_ml: float) -> float:
    """Return the mean over the largest values, as many voxels as make up a volume.

    The volume is physical: neither more air around nor finer voxels change the number.

    Args:
        values: ``(X, Y, Z)``, or those of some voxels in any order.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
        top_ml: The volume, in millilitres; all voxels where there are fewer, one at least.
    Returns:
        The mean; nan where there is no voxel.
    """
    flat = np.asarray(values, np.float32).ravel()
    count = min(flat.size, max(1, round(top_ml * MM3_PER_ML / math.prod(spacing_mm))))
    if not count:
        return math.nan
    return float(np.partition(flat, flat.size - count)[flat.size - count :].mean(dtype=np.float64))


def region(mask: Mask, spacing_mm: Sequence[float], margin_mm: float) -> tuple[tuple[slice, ...], Mask]:
    """Return a mask with all within a distance of it, in a box around it.

    Args:
        mask: Boolean mask, ``(X, Y, Z)``.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
        margin_mm: The distance.
    Returns:
        The box, empty if the mask is, and the mask in it.
    """
    if not mask.any():
        return bounding_box(mask), np.zeros((0,) * mask.ndim, bool)
    tight = bounding_box(mask)
    reach = [math.ceil(margin_mm / step) for step in spacing_mm]
    box = tuple(
        slice(max(0, side.start - more), min(size, side.stop + more))
        for side, more, size in zip(tight, reach, mask.shape, strict=True)
    )
    distance = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm)
    return box, np.asarray(distance) <= margin_mm
