"""The softened divergence from a teacher, worked by hand."""

import math

import pytest
import torch

from lib.learning.losses.distillation import distillation_loss, soft_dice_loss

LN3 = math.log(3)
ONE = torch.ones(1, 1, dtype=torch.bool)


def logits(*values: float) -> torch.Tensor:
    """Return one voxel's, ``(1, K, 1)``."""
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_equal_nets_cost_nothing(temperature: float) -> None:
    same = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, 5, 6, dtype=torch.bool)
    assert distillation_loss(same, same, valid, temperature=temperature).item() == pytest.approx(0, abs=1e-6)
    # A constant added to all scores of a voxel changes no distribution.
    assert distillation_loss(same + 3, same, valid, temperature=temperature).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice_loss(same + 3, same, valid).item() == pytest.approx(0, abs=1e-6)


def test_value_by_hand() -> None:
    """The teacher has 3/4 and 1/4 where the student has halves."""
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert distillation_loss(logits(0, 0), logits(LN3, 0), ONE, temperature=1.0).item() == pytest.approx(expected)
    # The other way round it is another number: the teacher's distribution weighs.
    turned = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert distillation_loss(logits(LN3, 0), logits(0, 0), ONE, temperature=1.0).item() == pytest.approx(turned)


def test_temperature_softens_and_its_square_keeps_the_size() -> None:
    """Scores of 2 ln 3 at T = 2 are those of ln 3 at T = 1, and the loss is four times theirs."""
    cold = distillation_loss(logits(0, 0), logits(LN3, 0), ONE, temperature=1.0).item()
    warm = distillation_loss(logits(0, 0), logits(2 * LN3, 0), ONE, temperature=2.0).item()
    assert warm == pytest.approx(4 * cold)


def test_gradient_is_the_difference_of_probabilities_and_never_the_teachers() -> None:
    """At T the gradient of the logits is T (p_S - p_T)."""
    student, teacher = logits(0, 0).requires_grad_(), logits(2 * LN3, 0).requires_grad_()
    distillation_loss(student, teacher, ONE, temperature=2.0).backward()
    assert teacher.grad is None and student.grad is not None
    assert student.grad.flatten().tolist() == pytest.approx([2 * (0.5 - 0.75), 2 * (0.5 - 0.25)])


def test_a_teacher_of_the_union_weighs_the_union() -> None:
    """Two classes of 1/4 each are an object of 1/2; which of them it is, the teacher does not say."""
    student, teacher = logits(math.log(2), 0, 0).requires_grad_(), logits(0, 0)
    loss = distillation_loss(student, teacher, ONE, temperature=1.0)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    tilted = logits(math.log(2), math.log(1.5), math.log(0.5))
    assert distillation_loss(tilted, teacher, ONE, temperature=1.0).item() == pytest.approx(0, abs=1e-6)
    assert distillation_loss(logits(5, 0, 0), teacher, ONE, temperature=1.0).item() > 0.5


def test_voxels_that_do_not_count_cost_nothing() -> None:
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
def test_what_does_not_fit_is_refused(teacher: tuple[int, ...], valid: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        distillation_loss(torch.zeros(1, 4, 4), torch.zeros(teacher), torch.ones(valid, dtype=torch.bool))


def test_a_thin_structure_weighs_as_much_in_dice_as_it_is_wrong() -> None:
    """One voxel of a thousand, half told: 1 - 2 (1/2) / (1/4 + 1), and next to no divergence."""
    teacher = torch.tensor([40.0, 0.0]).view(1, 2, 1).repeat(1, 1, 1000)
    teacher[..., 0] = torch.tensor([0.0, 40.0])
    student = teacher.clone()
    student[..., 0] = 0
    valid = torch.ones(1, 1000, dtype=torch.bool)
    assert soft_dice_loss(student, teacher, valid).item() == pytest.approx(0.2, abs=1e-4)
    assert distillation_loss(student, teacher, valid, temperature=1.0).item() < 1e-3


def test_dice_of_soft_answers_counts_what_was_seen_and_the_union_and_moves_the_student_alone() -> None:
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
