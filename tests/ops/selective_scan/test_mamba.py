"""The adapter passes valid operands to mamba-ssm, and on a GPU its result agrees with Triton."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch

from lib.ops.selective_scan.gpu import selective_scan_gpu
from lib.ops.selective_scan.mamba import selective_scan_mamba, supports
from lib.ops.selective_scan.reference import selective_scan_reference
from tests.ops.selective_scan.operands import operands, run

INTERFACE = "mamba_ssm.ops.selective_scan_interface"


def checking_scan(u: torch.Tensor, delta: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor, D, **rest):
    """Make the checks of the mamba-ssm kernel, then compute the plain recurrence."""
    assert {x.dtype for x in (delta, B, C)} == {u.dtype} and all(x.is_contiguous() for x in (u, delta, B, C))
    assert {x.dtype for x in (A, D, rest["delta_bias"])} == {torch.float32}
    return selective_scan_reference(u, delta, A, B, C, D, **rest)


def test_the_kernel_receives_operands_that_it_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(INTERFACE)
    monkeypatch.setattr(module, "selective_scan_fn", checking_scan, raising=False)
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, INTERFACE, module)
    tensors = {name: tensor.detach().bfloat16() for name, tensor in operands((2, 4, 2, 3, 9), torch.float32).items()}
    tensors["u"] = tensors["u"].transpose(1, 2).contiguous().transpose(1, 2)
    tensors["delta"] = tensors["delta"].float()
    *positional, bias = tensors.values()
    y = selective_scan_mamba(*positional, delta_bias=bias, delta_softplus=True)
    exact = selective_scan_reference(*positional, delta_bias=bias, delta_softplus=True)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, exact, rtol=2**-6, atol=2**-6)


def test_only_tensors_on_a_gpu_are_supported() -> None:
    assert not supports(torch.zeros(1, 2, 3), torch.zeros(2, 1))


def test_shapes_that_disagree_raise() -> None:
    u = torch.zeros(1, 4, 3)
    with pytest.raises(ValueError, match=r"A must be \(4, N\)"):
        selective_scan_mamba(u, u, torch.zeros(3, 2), torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.skipif(importlib.util.find_spec("mamba_ssm") is None, reason="mamba-ssm is not installed")
@pytest.mark.parametrize("shape", [(2, 96, 1, 16, 1027), (1, 64, 4, 8, 2048)])
def test_the_result_agrees_with_triton(shape: tuple[int, ...]) -> None:
    tensors = {name: tensor.detach().cuda().requires_grad_() for name, tensor in operands(shape, torch.float32).items()}
    (wanted, wanted_grads), (y, grads) = run(selective_scan_gpu, tensors), run(selective_scan_mamba, tensors)
    for found, expected in zip((y, *grads), (wanted, *wanted_grads), strict=True):
        assert (found - expected).abs().max() <= 1e-3 * max(1.0, float(expected.abs().max()))
