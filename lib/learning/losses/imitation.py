"""What a student's features owe a teacher's: the same direction at every place."""

import torch
import torch.nn.functional as F

POOLS = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def imitation_loss(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``1 - cos(z_S, z_T)`` over the places of the coarser grid.

    Args:
        ours: The student's, ``(B, E, *s)``; computed in float32 whatever the dtype.
        theirs: The teacher's, ``(B, E, *s')``, averaged down to the student's grid; they get no gradient.
    Returns:
        A scalar, float32, from 0 to 2.
    Raises:
        ValueError: If the channels differ.
    """
    if ours.shape[:2] != theirs.shape[:2]:
        raise ValueError(f"features {tuple(ours.shape)} and {tuple(theirs.shape)} do not fit")
    pooled = POOLS[ours.ndim - 2](theirs.detach().float(), ours.shape[2:])
    return (1 - F.cosine_similarity(ours.float(), pooled, dim=1)).mean()
