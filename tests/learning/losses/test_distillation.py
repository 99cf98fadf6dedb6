"""Distillation losses, with values computed by hand."""

import math

import pytest
import torch

from lib.learning.losses.distillation import distillation_loss, soft_dice_loss

LN3 = math.log(3)
ONE = torch.ones(1, 1, dtype=torch.bool)


def logits(*values: float) -> torch.Tensor:
    """Return the logits of one voxel, ``(1, K, 1)``."""
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_equal_logits_have_no_loss(temperature: float) -> None:
    same = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, 5, 6, dtype=torch.bool)
    assert distillation_loss(same, same, valid, temperature=temperature).item() == pytest.approx(0, abs=1e-6)
    # A constant that is added to all logits of a voxel does not change the distribution.
    assert distillation_loss(same + 3, same, valid, temperature=temperature).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice_loss(same + 3, same, valid).item() == pytest.approx(0, abs=1e-6)


def test_value_by_hand() -> None:
    """The teacher has probabilities 3/4 and 1/4, the student 1/2 and 1/2."""
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert distillation_loss(logits(0, 0), logits(LN3, 0), ONE, temperature=1.0).item() == pytest.approx(expected)
    # With student and teacher exchanged the value differs, because the teacher's distribution weights the terms.
    exchanged = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert distillation_loss(logits(LN3, 0), logits(0, 0), ONE, temperature=1.0).item() == pytest.approx(exchanged)


def test_the_loss_grows_with_the_square_of_the_temperature() -> None:
    """Logits of 2 ln 3 at T = 2 give the distributions of ln 3 at T = 1, and four times their loss."""
    cold = distillation_loss(logits(0, 0), logits(LN3, 0), ONE, temperature=1.0).item()
    warm = distillation_loss(logits(0, 0), logits(2 * LN3, 0), ONE, temperature=2.0).item()
    assert warm == pytest.approx(4 * cold)


def test_the_gradient_is_the_difference_of_probabilities_and_the_teacher_gets_none() -> None:
    """At temperature T the gradient of the student logits is T (p_S - p_T)."""
    student, teacher = logits(0, 0).requires_grad_(), logits(2 * LN3, 0).requires_grad_()
    distillation_loss(student, teacher, ONE, temperature=2.0).backward()
    assert teacher.grad is None and student.grad is not None
    assert student.grad.flatten().tolist() == pytest.approx([2 * (0.5 - 0.75), 2 * (0.5 - 0.25)])


def test_a_teacher_with_two_classes_is_compared_with_the_union_of_classes() -> None:
    """Two classes of probability 1/4 each are an object of 1/2; the teacher does not distinguish them."""
    student, teacher = logits(math.log(2), 0, 0).requires_grad_(), logits(0, 0)
    loss = distillation_loss(student, teacher, ONE, temperature=1.0)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    tilted = logits(math.log(2), math.log(1.5), math.log(0.5))
    assert distillation_loss(tilted, teacher, ONE, temperature=1.0).item() == pytest.approx(0, abs=1e-6)
    assert distillation_loss(logits(5, 0, 0), teacher, ONE, temperature=1.0).item() > 0.5


def test_invalid_voxels_have_no_loss() -> None:
    student = torch.tensor([[[0.0, 9.0], [0.0, -9.0]]], requires_grad=True)
    teacher = torch.tensor([[[LN3, -9.0], [0.0, 9.0]]])
    valid = torch.tensor([[True, False]])
    loss = distillation_loss(student, teacher, valid, temperature=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert student.grad is not None and (student.grad[..., 1] == 0).all() and (student.grad[..., 0] != 0).all()
    nothing = distillation_loss(student, teacher, torch.zeros(1, 2, dtype=torch.bool))
    assert nothing.item() == 0


@pytest.mark.parametrize(("teacher", "valid"), [((1, 3, 4), (1, 4)), ((1, 4, 5), (1, 4)), ((1, 4, 4), (4,))])
def test_shapes_that_do_not_fit_are_refused(teacher: tuple[int, ...], valid: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        distillation_loss(torch.zeros(1, 4, 4), torch.zeros(teacher), torch.ones(valid, dtype=torch.bool))


def test_an_error_on_a_thin_structure_has_a_large_dice_loss_and_a_small_divergence() -> None:
    """One voxel of a thousand has probability 1/2: the Dice loss is 1 - 2 (1/2) / (1/4 + 1)."""
    teacher = torch.tensor([40.0, 0.0]).view(1, 2, 1).repeat(1, 1, 1000)
    teacher[..., 0] = torch.tensor([0.0, 40.0])
    student = teacher.clone()
    student[..., 0] = 0
    valid = torch.ones(1, 1000, dtype=torch.bool)
    assert soft_dice_loss(student, teacher, valid).item() == pytest.approx(0.2, abs=1e-4)
    assert distillation_loss(student, teacher, valid, temperature=1.0).item() < 1e-3


def test_soft_dice_uses_valid_voxels_and_the_union_and_has_a_gradient_for_the_student_only() -> None:
    student = torch.tensor([[[0.0, 9.0], [0.0, -9.0]]], requires_grad=True)
    teacher = torch.tensor([[[-40.0, -9.0], [40.0, 9.0]]], requires_grad=True)
    loss = soft_dice_loss(student, teacher, torch.tensor([[True, False]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.2, abs=1e-4) and teacher.grad is None and student.grad is not None
    assert (student.grad[..., 1] == 0).all() and (student.grad[..., 0] != 0).all()
    assert soft_dice_loss(logits(math.log(2), 0, 0), logits(0, 0), ONE).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice_loss(student, teacher, torch.zeros(1, 2, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="do not fit"):
        soft_dice_loss(torch.zeros(1, 4, 4), torch.zeros(1, 3, 4), torch.ones(1, 4, dtype=torch.bool))
