"""The C++ scan agrees with the float64 recurrence in every build and with every thread count."""

from collections.abc import Iterator

import pytest
import torch

from lib.ops.native import build
from lib.ops.native.build import ISA_FLAGS, library, machine_isa
from lib.ops.selective_scan.native import scan_op, selective_scan_native, supports
from lib.ops.selective_scan.reference import selective_scan_reference
from tests.ops.selective_scan.operands import NAMES, operands, run

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")

ISAS = list(ISA_FLAGS)[list(ISA_FLAGS).index(machine_isa()) :]
# batch, channels, groups, state, length: odd lengths, one channel, chunk borders, more channels than a slab
SHAPES = [
    (1, 4, 1, 1, 1),
    (2, 6, 3, 4, 37),
    (1, 8, 4, 16, 129),
    (3, 1, 1, 1, 200),
    (2, 4, 2, 1, 1031),
    (1, 160, 1, 16, 65),
    (2, 200, 2, 2, 33),
    (1, 70, 1, 8, 64),
    (1, 20, 2, 5, 31),
    (1, 3, 1, 64, 40),
]


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(build, "machine_isa", lambda: request.param)
    yield request.param


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "absolute"), [(torch.float64, 1e-13), (torch.float32, 5e-6)])
def test_values_and_gradients_equal_the_reference(
    isa: str, shape: tuple[int, ...], dtype: torch.dtype, absolute: float
) -> None:
    exact, exact_grads = run(selective_scan_reference, operands(shape, torch.float64))
    y, grads = run(selective_scan_native, operands(shape, dtype))
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() <= absolute * max(1.0, float(exact.detach().abs().max()))
    for name, grad, wanted in zip(NAMES, grads, exact_grads, strict=True):
        assert grad.shape == wanted.shape, name
        assert (grad.double() - wanted).abs().max() <= absolute * max(1.0, float(wanted.abs().max())), name


@pytest.mark.parametrize(("dtype", "absolute"), [(torch.float64, 1e-13), (torch.float32, 5e-6)])
def test_decays_below_the_range_of_the_dtype_are_zero(isa: str, dtype: torch.dtype, absolute: float) -> None:
    """Some tiles and some channels have decays below the range of the dtype, others have none."""
    added_delta = torch.linspace(0, 8, 20)[:, None] * torch.linspace(0, 1, 100).square()
    tensors = {name: tensor.detach().double() for name, tensor in operands((1, 20, 1, 16, 100), torch.float32).items()}
    tensors["delta"] = tensors["delta"] + added_delta
    tensors["A"] = tensors["A"] * 40
    exact, exact_grads = run(selective_scan_reference, {n: tensor.requires_grad_() for n, tensor in tensors.items()})
    y, grads = run(
        selective_scan_native, {n: tensor.detach().to(dtype).requires_grad_() for n, tensor in tensors.items()}
    )
    for found, wanted in zip((y, *grads), (exact, *exact_grads), strict=True):
        assert (found.double() - wanted).abs().max() <= absolute * max(1.0, float(wanted.detach().abs().max()))


def test_gradcheck(isa: str) -> None:
    def scan(*tensors: torch.Tensor) -> torch.Tensor:
        return selective_scan_native(*tensors[:-1], delta_bias=tensors[-1], delta_softplus=True)

    assert torch.autograd.gradcheck(scan, tuple(operands((2, 2, 1, 2, 35), torch.float64).values()))


def test_every_element_is_written(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """New buffers are filled with NaN, so an element that the kernel does not write stays NaN."""
    monkeypatch.setattr(torch, "empty_like", lambda x, **_: torch.full_like(x, float("nan"), requires_grad=False))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda x, *size: x.detach().new_full(size, float("nan")))
    y, grads = run(selective_scan_native, operands((2, 150, 2, 3, 67), torch.float32))
    assert y.isfinite().all() and all(grad.isfinite().all() for grad in grads)


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(run(selective_scan_native, operands((2, 300, 2, 4, 130), torch.float32)))
    finally:
        torch.set_num_threads(before)
    for y, grads in found[1:]:
        assert torch.equal(y, found[0][0])
        assert all(torch.equal(a, b) for a, b in zip(grads, found[0][1], strict=True))


def test_operands_can_have_any_memory_layout() -> None:
    tensors = operands((2, 6, 3, 4, 37), torch.float64)
    strided = {
        name: tensor.detach().repeat_interleave(2, -1)[..., ::2].requires_grad_() for name, tensor in tensors.items()
    }
    assert not strided["u"].is_contiguous()
    wanted, found = run(selective_scan_reference, tensors), run(selective_scan_native, strided)
    torch.testing.assert_close(found, wanted)


def test_skip_bias_and_softplus_are_optional() -> None:
    *positional, _, _ = operands((2, 6, 3, 4, 37), torch.float64).values()
    positional[1] = positional[1].detach().exp().requires_grad_()
    exact, y = selective_scan_reference(*positional), selective_scan_native(*positional)
    torch.testing.assert_close(y, exact)
    wanted, grads = (torch.autograd.grad(tensor.square().sum(), positional) for tensor in (exact, y))
    torch.testing.assert_close(grads, wanted)


def test_bfloat16_computes_in_float32() -> None:
    tensors = [tensor.detach().bfloat16() for tensor in operands((2, 6, 3, 4, 65), torch.float32).values()]
    y = selective_scan_native(*tensors[:-1], delta_bias=tensors[-1], delta_softplus=True)
    wide = [tensor.float() for tensor in tensors]
    exact = selective_scan_reference(*wide[:-1], delta_bias=wide[-1], delta_softplus=True)
    assert y.dtype == torch.bfloat16
    assert (y.float() - exact).abs().max() <= 2**-7 * exact.abs().max()


@pytest.mark.parametrize("shift", [40.0, -200.0])
def test_extreme_steps_give_finite_values_and_gradients(isa: str, shift: float) -> None:
    tensors = operands((1, 4, 1, 16, 600), torch.float32)
    tensors["delta"] = (tensors["delta"].detach() + shift).requires_grad_()
    y, grads = run(selective_scan_native, tensors)
    assert y.isfinite().all() and all(grad.isfinite().all() for grad in grads)


def test_operator_passes_opcheck() -> None:
    """torch checks the schema, the fake shapes, the autograd registration and tracing."""
    u, delta, A, B, C, D, bias = operands((2, 6, 3, 4, 9), torch.float32).values()
    args = [u.transpose(1, 2), delta.transpose(1, 2), None, A, B.permute(0, 3, 1, 2), C.permute(0, 3, 1, 2), D, bias]
    leaves = [None if tensor is None else tensor.detach().contiguous().requires_grad_() for tensor in args]
    torch.library.opcheck(scan_op, (*leaves, None, True, True))


def test_supported_operands() -> None:
    assert supports(torch.zeros(1, 2, 3), torch.zeros(2, 64))
    assert not supports(torch.zeros(1, 2, 3), torch.zeros(2, 65))
    assert not supports(torch.zeros(1, 2, 3), torch.zeros(2, 1), ranks=257)
    assert not supports(torch.zeros(1, 2, 0), torch.zeros(2, 1))
    assert not supports(torch.zeros(1, 2, 3, device="meta"), torch.zeros(2, 1))


def test_shapes_that_disagree_raise() -> None:
    u = torch.zeros(1, 4, 3)
    with pytest.raises(ValueError, match=r"A must be \(4, N\)"):
        selective_scan_native(u, u, torch.zeros(3, 2), torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3))
