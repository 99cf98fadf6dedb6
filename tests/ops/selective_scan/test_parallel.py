"""The chunked scan in PyTorch agrees with the plain recurrence, in values and gradients."""

import pytest
import torch

from lib.ops.selective_scan import parallel
from lib.ops.selective_scan.parallel import selective_scan_parallel
from lib.ops.selective_scan.recurrence import Budget
from lib.ops.selective_scan.reference import selective_scan_reference
from tests.ops.selective_scan.operands import NAMES, operands, run

# batch, channels, groups, state, length
SHAPES = [
    (1, 4, 1, 1, 1),
    (2, 6, 3, 4, 37),
    (1, 8, 4, 16, 129),
    (3, 1, 1, 1, 200),
    (2, 4, 2, 1, 1031),
    (1, 64, 4, 16, 311),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "absolute"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_values_and_gradients_equal_the_reference(shape: tuple[int, ...], dtype: torch.dtype, absolute: float) -> None:
    exact, exact_grads = run(selective_scan_reference, operands(shape, torch.float64))
    y, grads = run(selective_scan_parallel, operands(shape, dtype))
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() <= absolute
    for name, grad, wanted in zip(NAMES, grads, exact_grads, strict=True):
        assert grad.shape == wanted.shape, name
        assert (grad.double() - wanted).abs().max() <= absolute * max(1.0, float(wanted.abs().max())), name


@pytest.mark.parametrize("widest", [1, 10**6])
@pytest.mark.parametrize("numbers", [1, 200, 2000])
def test_the_result_does_not_depend_on_segments_and_chunks(
    numbers: int, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "CPU_BUDGET", Budget(numbers, widest))
    exact, exact_grads = run(selective_scan_reference, operands((2, 4, 2, 3, 211), torch.float64))
    y, grads = run(selective_scan_parallel, operands((2, 4, 2, 3, 211), torch.float64))
    torch.testing.assert_close((y, *grads), (exact, *exact_grads))


def test_skip_bias_and_softplus_are_optional() -> None:
    *positional, _, _ = operands((2, 6, 3, 4, 37), torch.float64).values()
    positional[1] = positional[1].detach().exp().requires_grad_()
    exact, y = selective_scan_reference(*positional), selective_scan_parallel(*positional)
    torch.testing.assert_close(y, exact)
    wanted, grads = (torch.autograd.grad(tensor.square().sum(), positional) for tensor in (exact, y))
    torch.testing.assert_close(grads, wanted)


def test_states_stay_in_float32_under_autocast() -> None:
    *positional, bias = operands((1, 64, 1, 16, 40), torch.float32).values()
    wanted = selective_scan_parallel(*positional, delta_bias=bias, delta_softplus=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = selective_scan_parallel(*positional, delta_bias=bias, delta_softplus=True)
        grad = torch.autograd.grad(y.sum(), positional[0])[0]
    assert torch.equal(y, wanted)
    assert torch.equal(grad, torch.autograd.grad(wanted.sum(), positional[0])[0])


def test_an_empty_sequence_gives_an_empty_result() -> None:
    tensors = operands((2, 4, 2, 3, 0), torch.float32)
    y, grads = run(selective_scan_parallel, tensors)
    assert y.shape == (2, 4, 0) and grads[2].eq(0).all()


def test_bfloat16_computes_in_float32() -> None:
    tensors = {name: tensor.detach().bfloat16() for name, tensor in operands((2, 6, 3, 4, 65), torch.float32).items()}
    *positional, bias = tensors.values()
    y = selective_scan_parallel(*positional, delta_bias=bias, delta_softplus=True)
    *wide, wide_bias = (tensor.float() for tensor in tensors.values())
    exact = selective_scan_reference(*wide, delta_bias=wide_bias, delta_softplus=True)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, exact.bfloat16()) or (y.float() - exact).abs().max() <= 2**-7 * exact.abs().max()


def test_gradcheck() -> None:
    *positional, bias = operands((2, 2, 1, 2, 19), torch.float64).values()

    def scan(*tensors: torch.Tensor) -> torch.Tensor:
        return selective_scan_parallel(*tensors[:-1], delta_bias=tensors[-1], delta_softplus=True)

    assert torch.autograd.gradcheck(scan, (*positional, bias))


def test_strong_decay_gives_finite_values_and_gradients() -> None:
    """A cumulative sum in log space would give NaN gradients here."""
    tensors = operands((1, 4, 1, 16, 600), torch.float32)
    tensors["delta"] = (tensors["delta"].detach() + 40).requires_grad_()
    y, grads = run(selective_scan_parallel, tensors)
    assert y.isfinite().all() and all(grad.isfinite().all() for grad in grads)


def test_operands_can_be_non_contiguous() -> None:
    tensors = operands((2, 6, 3, 4, 37), torch.float64)
    strided = {
        name: tensor.detach().transpose(-1, -2).contiguous().transpose(-1, -2) if tensor.ndim > 1 else tensor.detach()
        for name, tensor in tensors.items()
    }
    *positional, bias = strided.values()
    exact, _ = run(selective_scan_reference, tensors)
    y = selective_scan_parallel(*positional, delta_bias=bias, delta_softplus=True)
    torch.testing.assert_close(y, exact.detach())


@pytest.mark.parametrize("wrong", ["delta", "A", "B", "C"])
def test_shapes_that_disagree_raise(wrong: str) -> None:
    tensors = {name: tensor.detach() for name, tensor in operands((2, 6, 3, 4, 9), torch.float32).items()}
    tensors[wrong] = tensors[wrong][..., :-1]
    *positional, _ = tensors.values()
    with pytest.raises(ValueError):
        selective_scan_parallel(*positional)
