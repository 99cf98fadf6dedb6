"""The soft skeleton keeps thin structures, thins thick ones and passes gradients."""

import pytest
import torch

from lib.ops.soft_skeleton import soft_skeleton


def test_a_line_is_its_own_skeleton() -> None:
    line = torch.zeros(1, 1, 9, 9)
    line[..., 4, 1:8] = 1
    assert torch.equal(soft_skeleton(line), line)


def test_a_bar_of_width_three_leaves_its_middle() -> None:
    bar = torch.zeros(1, 1, 9, 15)
    bar[..., 3:6, 2:13] = 1
    skeleton = soft_skeleton(bar)
    assert skeleton[..., 4, 4:11].eq(1).all() and skeleton[..., 3, 4:11].eq(0).all()


def test_a_tube_in_3d_leaves_its_axis() -> None:
    tube = torch.zeros(1, 1, 7, 7, 12)
    tube[..., 2:5, 2:5, :] = 1
    skeleton = soft_skeleton(tube)
    assert skeleton[..., 3, 3, 3:9].eq(1).all()
    assert skeleton.sum() < tube.sum() / 2


@pytest.mark.parametrize("shape", [(1, 2, 6, 7), (1, 1, 5, 6, 7)])
def test_the_skeleton_is_in_the_unit_interval_and_passes_a_gradient(shape: tuple[int, ...]) -> None:
    prob = torch.rand(shape, requires_grad=True)
    skeleton = soft_skeleton(prob)
    assert skeleton.shape == prob.shape and skeleton.min() >= 0 and skeleton.max() <= 1
    skeleton.sum().backward()
    assert prob.grad is not None and prob.grad.abs().sum() > 0


def test_other_numbers_of_axes_raise() -> None:
    with pytest.raises(ValueError, match="two or three"):
        soft_skeleton(torch.zeros(1, 1, 5))
