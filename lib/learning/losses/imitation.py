"""Imitation loss: cosine distance between student and teacher features at every position."""

import torch
import torch.nn.functional as F

POOLS = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def imitation_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``1 - cos(z_S, z_T)`` over the positions of the student's grid.

    Args:
        student: Student features, ``(B, E, *s)``; the loss is computed in float32 whatever the dtype.
        teacher: Teacher features, ``(B, E, *s')``, which are averaged to the student's grid and get no gradient.
    Returns:
        A scalar, float32, from 0 to 2.
    Raises:
        ValueError: If the batch sizes or the numbers of channels differ.
    """
    if student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f"features do not fit: student {tuple(student.shape)}, teacher {tuple(teacher.shape)}; "
            "batch size and channels must be equal"
        )
    pooled = POOLS[student.ndim - 2](teacher.detach().float(), student.shape[2:])
    return (1 - F.cosine_similarity(student.float(), pooled, dim=1)).mean()
