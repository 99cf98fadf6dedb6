"""The imitation loss, with values computed by hand."""

import pytest
import torch

from lib.learning.losses.imitation import imitation_loss


@pytest.mark.parametrize(
    ("student", "teacher", "expected"), [((1, 0), (2, 0), 0.0), ((1, 0), (0, 3), 1.0), ((1, 0), (-1, 0), 2.0)]
)
def test_only_the_direction_of_features_matters(student: tuple, teacher: tuple, expected: float) -> None:
    one, other = (torch.tensor(vector, dtype=torch.float32).view(1, 2, 1, 1) for vector in (student, teacher))
    assert imitation_loss(one, other).item() == pytest.approx(expected, abs=1e-6)


def test_teacher_features_are_averaged_to_the_students_grid_and_get_no_gradient() -> None:
    teacher = torch.zeros(1, 2, 4, 4, requires_grad=True)
    with torch.no_grad():
        teacher[:, 0, :, :2], teacher[:, 1, :, 2:] = 1.0, 5.0
    student = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]], requires_grad=True)
    loss = imitation_loss(student, teacher)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    imitation_loss(student + 0.3, teacher).backward()
    assert student.grad is not None and teacher.grad is None


@pytest.mark.parametrize("dims", [2, 3])
def test_equal_directions_have_no_loss_in_2d_and_3d(dims: int) -> None:
    same = torch.randn(2, 3, *[4] * dims, generator=torch.Generator().manual_seed(0))
    assert imitation_loss(same, 2 * same).item() == pytest.approx(0, abs=1e-6)


def test_different_numbers_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        imitation_loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 2, 2))
