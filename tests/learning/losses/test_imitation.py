"""The cosine distance of features, worked by hand."""

import pytest
import torch

from lib.learning.losses.imitation import imitation_loss


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"), [((1, 0), (2, 0), 0.0), ((1, 0), (0, 3), 1.0), ((1, 0), (-1, 0), 2.0)]
)
def test_direction_alone_counts(ours: tuple, theirs: tuple, expected: float) -> None:
    one, other = (torch.tensor(each, dtype=torch.float32).view(1, 2, 1, 1) for each in (ours, theirs))
    assert imitation_loss(one, other).item() == pytest.approx(expected, abs=1e-6)


def test_the_teacher_is_averaged_down_to_the_students_grid_and_gets_no_gradient() -> None:
    theirs = torch.zeros(1, 2, 4, 4, requires_grad=True)
    with torch.no_grad():
        theirs[:, 0, :, :2], theirs[:, 1, :, 2:] = 1.0, 5.0
    ours = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]], requires_grad=True)
    loss = imitation_loss(ours, theirs)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    imitation_loss(ours + 0.3, theirs).backward()
    assert ours.grad is not None and theirs.grad is None


@pytest.mark.parametrize("dims", [2, 3])
def test_axes(dims: int) -> None:
    same = torch.randn(2, 3, *[4] * dims, generator=torch.Generator().manual_seed(0))
    assert imitation_loss(same, 2 * same).item() == pytest.approx(0, abs=1e-6)


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        imitation_loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 2, 2))
