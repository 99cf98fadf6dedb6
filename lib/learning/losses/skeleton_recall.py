"""Skeleton recall: the fraction of the true skeleton that the prediction covers; skeletons are computed per patch."""

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch.utils.data import Dataset

from lib.data.pipeline import IGNORE
from lib.ops.skeleton import skeleton


def skeleton_recall_loss(prob: torch.Tensor, skeleton: torch.Tensor, *, smooth: float = 1.0) -> torch.Tensor:
    """Return ``-mean_c [(sum p_c s_c + 1) / (sum s_c + 1)]`` over the foreground classes.

    Args:
        prob: Probabilities, ``(B, K, *S)``; class 0 is background.
        skeleton: Dilated skeleton with the label of each of its voxels, ``(B, *S)``; 0 elsewhere.
        smooth: Added to numerator and denominator; an absent class contributes -1 and no gradient.
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
    """Return the dilated skeleton of all labels together; each voxel of it has its label.

    The skeleton belongs to the union of all classes, so the centreline is continuous where two parts of a tube meet.

    Args:
        label: Labels, ``(*S)`` in 2-D or 3-D; 0 background, 255 ignored.
        radius: Dilation of the one-voxel skeleton, in voxels.
    Returns:
        ``(*S)``, dtype of ``label``: the label on the dilated skeleton, 0 elsewhere.
    """
    mask = (label > 0) & (label != IGNORE)
    line = skeleton(mask)
    # With 0 iterations scipy dilates until nothing changes.
    thick = ndimage.binary_dilation(line, iterations=radius) if radius else line
    return np.where(thick & mask, label, 0).astype(label.dtype)


class SkeletonTargets(Dataset):
    """Patches with their dilated skeleton under ``"skeleton"``, computed in the process that loads the patch.

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
        """Draw the patches of another epoch."""
        self.patches.set_epoch(epoch)
