"""A straight snake convolution is a strip convolution; a bent one samples along its curve and has gradients."""

import pytest
import torch
from torch.nn import functional as F

from lib.ops.snake_conv import DynamicSnakeConv

CASES = [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]


def build(dims: int, axis: int, *, kernel_size: int = 5, inputs: int = 3, outputs: int = 4) -> DynamicSnakeConv:
    torch.manual_seed(0)
    return DynamicSnakeConv(dims, inputs, outputs, kernel_size=kernel_size, axis=axis)


def image(dims: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, *(7, 9, 8)[:dims], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("dims", "axis"), CASES)
def test_zero_offsets_give_the_strip_convolution_with_replicate_padding(dims: int, axis: int) -> None:
    layer, x = build(dims, axis), image(dims)
    straight = layer.convolve(x, torch.zeros(2, (dims - 1) * 5, *x.shape[2:]))
    size = [5 if other == axis else 1 for other in range(dims)]
    padding = [n for other in reversed(range(dims)) for n in (2 * (other == axis),) * 2]
    weight = layer.strip.weight.unflatten(1, (5, 3)).movedim(1, 2).reshape(4, 3, *size)
    conv = F.conv2d if dims == 2 else F.conv3d
    wanted = conv(F.pad(x, padding, mode="replicate"), weight, layer.strip.bias)
    assert (straight - wanted).abs().max() <= 5e-6


def test_integer_steps_match_values_worked_by_hand() -> None:
    """Along axis 1, with all steps +1 across it, sample i is read i - centre columns and |i - centre| rows away."""
    layer = build(2, 1, kernel_size=3, inputs=1, outputs=1)
    with torch.no_grad():
        layer.strip.weight.copy_(torch.tensor([[1.0, 10.0, 100.0]]))
        layer.strip.bias.zero_()
    x = torch.arange(25.0).reshape(1, 1, 5, 5)
    bent = layer.convolve(x, torch.ones(1, 3, 5, 5))
    assert bent[0, 0, 2, 2].item() == x[0, 0, 3, 1] + 10 * x[0, 0, 2, 2] + 100 * x[0, 0, 3, 3]
    assert bent[0, 0, 4, 4].item() == x[0, 0, 4, 3] + 110 * x[0, 0, 4, 4], "clamped at the border"


def test_half_a_step_reads_the_mean_of_two_rows() -> None:
    layer = build(2, 1, kernel_size=3, inputs=1, outputs=1)
    with torch.no_grad():
        layer.strip.weight.copy_(torch.tensor([[0.0, 0.0, 1.0]]))
        layer.strip.bias.zero_()
    x = torch.arange(25.0).reshape(1, 1, 5, 5) ** 2
    bent = layer.convolve(x, torch.full((1, 3, 5, 5), 0.5))
    assert bent[0, 0, 1, 1].item() == (x[0, 0, 1, 2] + x[0, 0, 2, 2]) / 2


@pytest.mark.parametrize(("dims", "axis"), CASES)
def test_a_gradient_reaches_every_parameter(dims: int, axis: int) -> None:
    layer, x = build(dims, axis), image(dims).requires_grad_()
    y = layer(x)
    assert y.shape == (2, 4, *x.shape[2:])
    (y * torch.randn_like(y)).sum().backward()
    for name, parameter in [("input", x), *layer.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gradcheck_of_values_and_offsets() -> None:
    layer = build(2, 0, kernel_size=3, inputs=2, outputs=2).double()
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    # Avoid integers, where the interpolation is not differentiable.
    offsets = (torch.rand(1, 3, 4, 5, dtype=torch.float64) * 0.3 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(layer.convolve, (x, offsets))


def test_bfloat16_offsets_sample_the_same_positions() -> None:
    """Bfloat16 has no odd integers above 256, so positions in bfloat16 would read a neighbour."""
    layer = build(2, 1, kernel_size=3, inputs=1, outputs=1)
    x = torch.randn(1, 1, 400, 3, generator=torch.Generator().manual_seed(2))
    steps = torch.full((1, 3, 400, 3), 0.5)
    assert torch.equal(layer.convolve(x, steps.bfloat16()), layer.convolve(x, steps))


def test_parameters_are_those_of_one_strip_convolution_and_its_offsets() -> None:
    parameters = sum(p.numel() for p in build(2, 0).parameters())
    offsets = 3 * 9 * 5 + 5 + 2 * 5
    assert parameters == offsets + (3 * 5 * 4 + 4) + 2 * 4


@pytest.mark.parametrize(("dims", "axis", "kernel"), [(1, 0, 3), (2, 2, 3), (3, -1, 3), (2, 0, 4)])
def test_bad_arguments_raise(dims: int, axis: int, kernel: int) -> None:
    with pytest.raises(ValueError):
        DynamicSnakeConv(dims, 1, 1, kernel_size=kernel, axis=axis)
