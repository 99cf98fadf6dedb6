"""Skeleton recall: how much of the true skeleton the prediction covers, the skeleton computed beside the data."""

from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from skimage.morphology import skeletonize
from torch.utils.data import Dataset

from lib.data.pipeline import IGNORE


def skeleton_recall_loss(prob: torch.Tensor, skeleton: torch.Tensor, *, smooth: float = 1.0) -> torch.Tensor:
    """Return ``-mean_c [(sum p_c s_c + 1) / (sum s_c + 1)]`` over the classes but background.

    Args:
        prob: Probabilities, ``(B, K, *S)``; class 0 is background.
        skeleton: Dilated skeleton carrying the label of each voxel, ``(B, *S)``, 0 elsewhere.
        smooth: Added to numerator and denominator: a class that is absent costs -1, with no gradient.
    Returns:
        A scalar in ``[-1, 0)``.
    Source:
        Kirchhoff et al. 2024, arXiv:2404.03010, eq. 2.
    """
    classes = torch.arange(1, prob.shape[1], device=prob.device).view(1, -1, *[1] * (prob.ndim - 2))
    hot = (skeleton[:, None] == classes).to(prob.dtype)
    axes = (0, *range(2, prob.ndim))
    return -(((prob[:, 1:] * hot).sum(axes) + smooth) / (hot.sum(axes) + smooth)).mean()


def tubed_skeleton(label: np.ndarray, *, radius: int = 2) -> np.ndarray:
    """Return the skeleton of all labels together, dilated, each voxel carrying its label.

    One skeleton of the union, and not one per class: where two parts of a tube meet, the centreline runs on.

    Args:
        label: Labels, ``(*S)`` in 2-D or 3-D; 0 background, 255 ignored.
        radius: Dilation of the one-voxel skeleton, in voxels.
    Returns:
        ``(*S)``, dtype of ``label``: the label on the tube around the skeleton, 0 elsewhere.
    """
    mask = (label > 0) & (label != IGNORE)
    tube = np.zeros_like(label)
    if not mask.any():
        return tube
    box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(mask))
    # A margin of background: skeletonize treats a face of the array as the outside only when it sees it.
    inside = np.pad(mask[box], 1)
    core = tuple(slice(1, -1) for _ in box)
    thick = (
        binary_dilation(skeletonize(inside) > 0, iterations=radius)[core] if radius else skeletonize(inside)[core] > 0
    )
    tube[box] = np.where(thick & mask[box], label[box], 0)
    return tube


class SkeletonTargets(Dataset):
    """Patches with their dilated skeleton under ``"skeleton"``, made where the patch is made (a worker process).

    Args:
        patches: A map-style data set of dicts with ``"label"``, ``(*S)``.
        radius: Dilation of the skeleton, in voxels.
    """

    def __init__(self, patches: Any, *, radius: int = 2) -> None:
        self.patches = patches
        self.radius = radius

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        patch = dict(self.patches[index])
        label = np.asarray(patch["label"], dtype=np.uint8)
        patch["skeleton"] = torch.from_numpy(tubed_skeleton(label, radius=self.radius))
        return patch

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to the patches, which draw anew from it."""
        self.patches.set_epoch(epoch)
