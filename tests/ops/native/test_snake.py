"""The snake kernel agrees with the sampling in PyTorch, for all thread counts, and writes every element."""

import pytest
import torch

from lib.ops.native import snake
from lib.ops.native.build import library
from lib.ops.snake_conv import DynamicSnakeConv

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")
CASES = [
    ((1, 1, 5, 7), 0, 3),
    ((2, 3, 6, 4), 1, 5),
    ((1, 19, 1, 9), 0, 9),
    ((2, 16, 9, 1), 1, 1),
    ((1, 2, 4, 5, 3), 0, 3),
    ((2, 5, 3, 4, 6), 1, 5),
    ((1, 17, 5, 1, 4), 2, 9),
]


@pytest.mark.parametrize(("shape", "axis", "taps"), CASES)
@pytest.mark.parametrize("reach", [0.4, 3.0])
def test_values_and_gradients_equal_those_of_pytorch(
    shape: tuple[int, ...], axis: int, taps: int, reach: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(4)
    dims, torch_seed = len(shape) - 2, 5
    torch.manual_seed(torch_seed)
    layer = DynamicSnakeConv(dims, shape[1], 3, kernel_size=taps, axis=axis)
    x = torch.randn(shape, generator=generator)
    # Large steps leave the image on every side, where positions are clamped.
    offsets = (torch.rand(shape[0], (dims - 1) * taps, *shape[2:], generator=generator) - 0.5) * 2 * reach

    def run(dtype: torch.dtype) -> list[torch.Tensor]:
        own = layer.to(dtype)
        a, b = x.to(dtype).requires_grad_(), offsets.to(dtype).requires_grad_()
        y = own.convolve(a, b)
        ga, gb, gw = torch.autograd.grad(
            (y * torch.arange(y.numel()).reshape(y.shape).sin()).sum(), (a, b, own.strip.weight)
        )
        return [y.detach(), ga, gb, gw]

    single, double = run(torch.float32), run(torch.float64)
    monkeypatch.setattr(snake, "supports", lambda x, curves: False)
    plain = run(torch.float64)
    for got32, got64, wanted in zip(single, double, plain, strict=True):
        torch.testing.assert_close(got64, wanted, atol=1e-12, rtol=1e-10)
        torch.testing.assert_close(got32.double(), wanted, atol=2e-4, rtol=1e-4)


def test_every_element_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    x, curves = torch.randn(2, 5, 6, 7), torch.randn(2, 5, 6, 1, 3)
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, shape: self.new_full(shape, float("nan")))
    samples = snake.snake_op(x, curves, 0)
    assert samples.isfinite().all()
    assert all(tensor.isfinite().all() for tensor in snake.snake_backward_op(samples, x, curves, 0))


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    x, curves, threads = torch.randn(3, 5, 6, 7), torch.randn(3, 5, 6, 1, 5), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            y = snake.snake_op(x, curves, 1)
            results.append([y, *snake.snake_backward_op(y, x, curves, 1)])
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))


def test_gradcheck_and_opcheck() -> None:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(1, 3, 4, 3, 2, dtype=torch.float64, requires_grad=True, generator=generator)
    # Avoid integers and the border, where the interpolation is not differentiable.
    curves = (torch.rand(1, 3, 4, 3, 2, 3, dtype=torch.float64, generator=generator) * 0.3 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: snake.snake_op(a, b, 1), (x, curves))
    operands = (torch.randn(1, 3, 4, 2, requires_grad=True), torch.rand(1, 3, 4, 1, 3, requires_grad=True), 1)
    torch.library.opcheck(snake.snake_op, operands)


def test_a_nan_step_reads_no_memory_outside_the_image() -> None:
    x, curves = torch.ones(1, 4, 4, 2), torch.full((1, 4, 4, 1, 3), float("nan"))
    assert snake.snake_op(x, curves, 0).shape == (1, 4, 4, 3, 2)
