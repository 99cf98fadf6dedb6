"""Distillation losses between student and teacher logits: softened KL divergence and soft Dice."""

import torch
import torch.nn.functional as F


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, valid: torch.Tensor, *, temperature: float = 2.0
) -> torch.Tensor:
    """Return ``T^2 KL(softmax(z_T / T) || softmax(z_S / T))``, the mean over valid voxels.

    The factor ``T^2`` keeps the magnitude of the gradient as T grows. A teacher with two classes, background and
    object, teaches the union of the foreground classes of a student with more classes; the student's foreground logits
    are then merged with log-sum-exp before the softmax.

    Args:
        student: Student logits, ``(B, K, *S)``; the loss is computed in float32 whatever the dtype.
        teacher: Teacher logits, ``(B, K, *S)`` or ``(B, 2, *S)``; they get no gradient.
        valid: Voxels where the teacher's logits are valid, bool ``(B, *S)``.
        temperature: Temperature T, above 0.
    Returns:
        A scalar, float32; 0 if no voxel is valid.
    Raises:
        ValueError: If the grids or the numbers of classes differ.
    Source:
        Hinton, Vinyals & Dean 2015, arXiv:1503.02531.
    """
    student, teacher = _comparable(student, teacher, valid)
    log_student, log_teacher = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)
    return temperature**2 * (divergence * valid).sum() / valid.sum().clamp(min=1)


def soft_dice_loss(
    student: torch.Tensor, teacher: torch.Tensor, valid: torch.Tensor, *, smooth: float = 1e-5
) -> torch.Tensor:
    """Return ``1 - 2 <p_S, p_T> / (<p_S, p_S> + <p_T, p_T>)``, the mean over the foreground classes.

    The divergence is a mean over voxels, in which a thin structure has little weight; in Dice it has as much weight
    as a large one. Sums are over the whole batch. The denominator has squares, so the loss of two equal distributions
    is 0 even if they are uncertain.

    Args:
        student: Student logits, as in `distillation_loss`.
        teacher: Teacher logits, as in `distillation_loss`.
        valid: Voxels where the teacher's logits are valid, bool ``(B, *S)``.
        smooth: Added to numerator and denominator.
    Returns:
        A scalar, float32; 0 if no voxel is valid.
    Raises:
        ValueError: If the grids or the numbers of classes differ.
    Source:
        Milletari et al. 2016, arXiv:1606.04797, for two probability maps.
    """
    student, teacher = _comparable(student, teacher, valid)
    p_student, p_teacher = (logits.softmax(1)[:, 1:] * valid[:, None] for logits in (student, teacher))
    axes = (0, *range(2, p_student.ndim))
    overlap, size = 2 * (p_student * p_teacher).sum(axes), (p_student.square() + p_teacher.square()).sum(axes)
    return (1 - (overlap + smooth) / (size + smooth)).mean()


def _comparable(student: torch.Tensor, teacher: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    student, teacher = student.float(), teacher.detach().float()
    if teacher.shape[1] == 2 < student.shape[1]:
        student = torch.stack([student[:, 0], student[:, 1:].logsumexp(1)], 1)
    if student.shape != teacher.shape or valid.shape != (len(student), *student.shape[2:]):
        raise ValueError(
            f"shapes do not fit: student logits {tuple(student.shape)}, teacher logits {tuple(teacher.shape)}, "
            f"valid {tuple(valid.shape)}"
        )
    return student, teacher
