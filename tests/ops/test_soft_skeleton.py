"""The soft skeleton keeps thin structures, thins thick ones and passes gradients."""

import pytest
import torch

from lib.ops.soft_skeleton import soft_skeleton
from tests.ops.tubes import FEW, SHAPES


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


@pytest.mark.parametrize("name", FEW)
def test_no_shape_vanishes_however_thick_it_is(name: str) -> None:
    mask = torch.from_numpy(SHAPES[name]).float()[None, None]
    line = soft_skeleton(mask)
    assert line.sum() > 0 and (line <= mask).all()


def test_more_erosions_change_nothing_once_no_sample_is_left() -> None:
    mask = torch.from_numpy(SHAPES["tube 12 x 12 along 0"]).float()[None, None]
    assert torch.equal(soft_skeleton(mask), soft_skeleton(mask, iterations=20))


def test_an_array_that_is_filled_ends_the_erosions() -> None:
    assert soft_skeleton(torch.ones(1, 1, 40, 40)).sum() == 0


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
