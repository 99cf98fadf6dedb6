"""What a student owes its teacher: the same distribution at every voxel, softened, and the same structures."""

import torch
import torch.nn.functional as F


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, valid: torch.Tensor, *, temperature: float = 2.0
) -> torch.Tensor:
    """Return ``T^2 KL(softmax(z_T / T) || softmax(z_S / T))``, the mean over the voxels that count.

    The square keeps the gradient's size as T grows. A teacher of two classes, background and object, teaches a student
    of more the union of its classes: their scores are united before they are softened.

    Args:
        student: Logits ``(B, K, *S)``; computed in float32 whatever the dtype.
        teacher: Logits ``(B, K, *S)``, or ``(B, 2, *S)``; they get no gradient.
        valid: Where the teacher saw what the student sees, bool ``(B, *S)``.
        temperature: T, above 0.
    Returns:
        A scalar, float32; 0 where no voxel counts.
    Raises:
        ValueError: If the grids or the classes do not fit.
    Source:
        Hinton, Vinyals & Dean 2015, arXiv:1503.02531.
    """
    student, teacher = _comparable(student, teacher, valid)
    ours, theirs = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    divergence = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
    return temperature**2 * (divergence * valid).sum() / valid.sum().clamp(min=1)


def soft_dice_loss(
    student: torch.Tensor, teacher: torch.Tensor, valid: torch.Tensor, *, smooth: float = 1e-5
) -> torch.Tensor:
    """Return ``1 - 2 <p_S, p_T> / (<p_S, p_S> + <p_T, p_T>)``, the mean over the classes but the background.

    The divergence is a mean over voxels, of which a thin structure has few; here it weighs as much as a large one. Sums
    go over the whole batch. With squares below, equal distributions cost nothing, however uncertain they are.

    Args:
        student: As for `distillation_loss`.
        teacher: The same.
        valid: The same.
        smooth: Added to numerator and denominator.
    Returns:
        A scalar, float32; 0 where no voxel counts.
    Raises:
        ValueError: If the grids or the classes do not fit.
    Source:
        Milletari et al. 2016, arXiv:1606.04797, of two soft answers.
    """
    student, teacher = _comparable(student, teacher, valid)
    ours, theirs = (logits.softmax(1)[:, 1:] * valid[:, None] for logits in (student, teacher))
    axes = (0, *range(2, ours.ndim))
    alike, size = 2 * (ours * theirs).sum(axes), (ours.square() + theirs.square()).sum(axes)
    return (1 - (alike + smooth) / (size + smooth)).mean()


def _comparable(student: torch.Tensor, teacher: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    student, teacher = student.float(), teacher.detach().float()
    if teacher.shape[1] == 2 < student.shape[1]:
        student = torch.stack([student[:, 0], student[:, 1:].logsumexp(1)], 1)
    if student.shape != teacher.shape or valid.shape != (len(student), *student.shape[2:]):
        raise ValueError(f"logits {tuple(student.shape)}, {tuple(teacher.shape)} and {tuple(valid.shape)} do not fit")
    return student, teacher
