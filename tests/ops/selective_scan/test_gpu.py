"""The Triton scan agrees with the float64 recurrence, on a GPU or else under the interpreter of Triton."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from lib.ops import selective_scan
from lib.ops.selective_scan import gpu, native
from lib.ops.selective_scan.gpu import image_scan_gpu, scan_gpu_op, selective_scan_gpu
from lib.ops.selective_scan.image import image_scan_reference
from lib.ops.selective_scan.reference import selective_scan_reference
from tests.ops.selective_scan.operands import NAMES, gradients, image_operands, operands, run

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton on this machine")
needs_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="no GPU on this machine")

# batch, channels, groups, state, length: one token, one channel, odd lengths, borders of chunks, tiles and carries
SHAPES = [
    (1, 4, 1, 1, 1),
    (2, 6, 3, 4, 21),
    (1, 1, 1, 1, 43),
    (1, 2, 2, 16, 11),
    (3, 1, 1, 2, 8),
    (1, 5, 1, 4, 17),
]
# batch, channels, shape, state, rank
IMAGES = [(1, 3, (5, 3), 2, 1), (2, 5, (3, 4), 1, 3), (1, 1, (2, 3, 2), 4, 2), (1, 2, (1, 3), 16, 2)]


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small tiles under the interpreter, which is slow, so that small scans have borders of all kinds."""
    if DEVICE == "cpu":
        for name, size in {"CHUNK": 8, "CHUNK_WITH_GRADIENT": 4, "CHANNELS": 4, "CARRIES": 4, "STATES": 4}.items():
            monkeypatch.setattr(gpu, name, size)


def on_device(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to(DEVICE).requires_grad_() for name, tensor in tensors.items()}


def assert_near(found: torch.Tensor, wanted: torch.Tensor, absolute: float, name: str = "y") -> None:
    assert found.shape == wanted.shape, name
    scale = max(1.0, float(wanted.detach().abs().max()))
    assert (found.double().cpu() - wanted).abs().max() <= absolute * scale, name


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "absolute"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
def test_values_and_gradients_equal_the_reference(shape: tuple[int, ...], dtype: torch.dtype, absolute: float) -> None:
    exact, exact_grads = run(selective_scan_reference, operands(shape, torch.float64))
    y, grads = run(selective_scan_gpu, on_device(operands(shape, dtype)))
    assert y.dtype == dtype
    assert_near(y, exact, absolute)
    for name, grad, wanted in zip(NAMES, grads, exact_grads, strict=True):
        assert_near(grad, wanted, absolute, name)


@pytest.mark.parametrize(("batch", "channels", "shape", "state", "rank"), IMAGES)
def test_image_scan_equals_the_reference(
    batch: int, channels: int, shape: tuple[int, ...], state: int, rank: int
) -> None:
    tensors, order = image_operands(batch, channels, shape, state, rank, torch.float64)
    exact = image_scan_reference(*tensors, order)
    moved = [tensor.detach().to(DEVICE).requires_grad_() for tensor in tensors]
    y = image_scan_gpu(*moved, order.to(DEVICE))
    assert_near(y, exact, 1e-10)
    for grad, wanted in zip(gradients(y, moved), gradients(exact, tensors), strict=True):
        assert_near(grad, wanted, 1e-10)


def test_an_image_with_one_scan_equals_the_reference() -> None:
    tensors, order = image_operands(1, 3, (3, 4), 2, 2, torch.float64)
    u, dt, weight, A, B, C, D, bias = (tensor.detach().to(DEVICE) for tensor in tensors)
    dt, B, C = (tensor[:, :, 1:2] for tensor in (dt, B, C))
    single = (u, dt, weight[1:2], A[3:6], B, C, D[3:6], bias[3:6], order[1:2].to(DEVICE))
    torch.testing.assert_close(image_scan_gpu(*single), image_scan_reference(*single))


def test_longer_chunks_without_gradients_equal_the_reference() -> None:
    tensors = {name: tensor.detach() for name, tensor in on_device(operands((1, 5, 1, 2, 21), torch.float64)).items()}
    *positional, bias = tensors.values()
    y = selective_scan_gpu(*positional, delta_bias=bias, delta_softplus=True)
    torch.testing.assert_close(y, selective_scan_reference(*positional, delta_bias=bias, delta_softplus=True))


def test_tiles_of_the_size_for_a_gpu_equal_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    exact, exact_grads = run(selective_scan_reference, operands((1, 33, 1, 1, 35), torch.float64))
    y, grads = run(selective_scan_gpu, on_device(operands((1, 33, 1, 1, 35), torch.float64)))
    for found, wanted in zip((y, *grads), (exact, *exact_grads), strict=True):
        assert_near(found, wanted, 1e-10)


def test_skip_bias_and_softplus_are_optional() -> None:
    *positional, _, _ = on_device(operands((2, 6, 3, 2, 13), torch.float64)).values()
    positional[1] = positional[1].detach().exp().requires_grad_()
    exact, y = selective_scan_reference(*positional), selective_scan_gpu(*positional)
    torch.testing.assert_close(y, exact)
    wanted, grads = (torch.autograd.grad(tensor.square().sum(), positional) for tensor in (exact, y))
    torch.testing.assert_close(grads, wanted)


def test_operands_can_have_any_memory_layout() -> None:
    tensors = on_device(operands((2, 4, 2, 2, 9), torch.float64))
    strided = {
        name: tensor.detach().repeat_interleave(2, -1)[..., ::2].requires_grad_() for name, tensor in tensors.items()
    }
    assert not strided["u"].is_contiguous()
    wanted, found = run(selective_scan_reference, tensors), run(selective_scan_gpu, strided)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32(dtype: torch.dtype) -> None:
    tensors = on_device({name: tensor.to(dtype) for name, tensor in operands((1, 4, 1, 2, 21), torch.float32).items()})
    y, grads = run(selective_scan_gpu, tensors)
    wide = {name: tensor.detach().double().cpu().requires_grad_() for name, tensor in tensors.items()}
    exact, wanted = run(selective_scan_reference, wide)
    assert y.dtype == dtype and all(grad.dtype == dtype for grad in grads)
    assert_near(y, exact, 2**-7)
    for name, grad, wanted_grad in zip(NAMES, grads, wanted, strict=True):
        assert_near(grad, wanted_grad, 2**-6, name)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp2")  # from numpy; the sigmoid is then zero
@pytest.mark.parametrize("shift", [40.0, -200.0])
def test_extreme_steps_give_finite_values_and_gradients(shift: float) -> None:
    tensors = on_device(operands((1, 2, 1, 2, 30), torch.float32))
    tensors["delta"] = (tensors["delta"].detach() + shift).requires_grad_()
    y, grads = run(selective_scan_gpu, tensors)
    assert y.isfinite().all() and all(grad.isfinite().all() for grad in grads)


def test_small_steps_are_precise() -> None:
    """A softplus by log(1 + t) would have a relative error of 0.1 % here, and so would the scan."""
    tensors = on_device({name: tensor.double() for name, tensor in operands((1, 4, 1, 1, 5), torch.float32).items()})
    tensors["delta"], tensors["D"] = tensors["delta"].detach() - 10, torch.zeros_like(tensors["D"])
    single = [tensor.detach().float() for tensor in tensors.values()]
    *positional, bias = tensors.values()
    exact = selective_scan_reference(*positional, delta_bias=bias, delta_softplus=True)
    y = selective_scan_gpu(*single[:-1], delta_bias=single[-1], delta_softplus=True)
    torch.testing.assert_close(y.double(), exact, rtol=2e-5, atol=0)


def test_gradcheck() -> None:
    def scan(*tensors: torch.Tensor) -> torch.Tensor:
        return selective_scan_gpu(*tensors[:-1], delta_bias=tensors[-1], delta_softplus=True)

    assert torch.autograd.gradcheck(scan, tuple(on_device(operands((1, 2, 1, 1, 5), torch.float64)).values()))


def test_every_element_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """New buffers are filled with NaN, so an element that the kernel does not write stays NaN."""
    monkeypatch.setattr(torch, "empty_like", lambda x, **_: torch.full_like(x, float("nan"), requires_grad=False))

    def poisoned(x: torch.Tensor, *size: int | torch.Size, **options: str) -> torch.Tensor:
        shape = torch.Size(size) if isinstance(size[0], int) else size[0]
        return x.detach().new_full(shape, float("nan") if x.is_floating_point() else -1, **options)

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    tensors, order = image_operands(2, 5, (3, 3), 2, 2, torch.float32)
    moved = [tensor.detach().to(DEVICE).requires_grad_() for tensor in tensors]
    y = image_scan_gpu(*moved, order.to(DEVICE))
    assert y.isfinite().all() and all(grad.isfinite().all() for grad in gradients(y, moved))


def test_two_runs_are_bitwise_equal() -> None:
    tensors = on_device(operands((2, 6, 2, 2, 19), torch.float32))
    (y, grads), (again, grads_again) = run(selective_scan_gpu, tensors), run(selective_scan_gpu, tensors)
    assert torch.equal(y, again) and all(torch.equal(a, b) for a, b in zip(grads, grads_again, strict=True))


def test_operator_passes_opcheck() -> None:
    """torch checks the schema, the fake shapes, the autograd registration and tracing."""
    u, delta, A, B, C, D, bias = on_device(operands((1, 4, 2, 2, 6), torch.float32)).values()
    steps = delta.unflatten(1, (2, 2)).permute(1, 0, 3, 2)
    args = [u.transpose(1, 2), steps, A, B.permute(0, 3, 1, 2), C.permute(0, 3, 1, 2), D, bias]
    leaves = [tensor.detach().contiguous().requires_grad_() for tensor in args]
    torch.library.opcheck(scan_gpu_op, (*leaves, None, True, 4))


def test_only_tensors_on_a_gpu_are_supported() -> None:
    A = torch.zeros(2, 1)
    assert not gpu.supports(torch.zeros(1, 2, 3), A)
    if DEVICE == "cuda":
        assert gpu.supports(torch.zeros(1, 2, 3, device="cuda"), A, ranks=1000)
        assert not gpu.supports(torch.zeros(1, 2, 0, device="cuda"), A)


def test_the_triton_scan_is_chosen_if_it_supports_the_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "supports", lambda *_: False)
    monkeypatch.setattr(gpu, "supports", lambda *_: True)
    monkeypatch.setattr(gpu, "selective_scan_gpu", lambda *_, **__: "sequence")
    monkeypatch.setattr(gpu, "image_scan_gpu", lambda *_: "image")
    some = torch.zeros(1, 2, 3)
    assert selective_scan.selective_scan(some, some, some, some, some) == "sequence"
    assert selective_scan.image_scan(*[some] * 9) == "image"


def test_shapes_that_disagree_raise() -> None:
    u = torch.zeros(1, 4, 3)
    with pytest.raises(ValueError, match=r"A must be \(4, N\)"):
        selective_scan_gpu(u, u, torch.zeros(3, 2), torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3))


def test_importing_the_scan_does_not_import_triton() -> None:
    """A server on a CPU does not need the time and memory of importing Triton."""
    code = "import sys, lib.ops.selective_scan; sys.exit('triton' in sys.modules or 'mamba_ssm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "."}).returncode == 0


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(1, 192, 1, 16, 4099), (2, 96, 4, 1, 16384), (1, 768, 4, 16, 1000)])
def test_large_scans_in_float32_agree_with_float64(shape: tuple[int, ...]) -> None:
    exact, wanted = run(selective_scan_gpu, on_device(operands(shape, torch.float64)))
    found, grads = run(selective_scan_gpu, on_device(operands(shape, torch.float32)))
    for tensor, other in zip((found, *grads), (exact, *wanted), strict=True):
        assert_near(tensor, other.detach().cpu(), 2e-4)


@needs_gpu
@pytest.mark.gpu
def test_a_bfloat16_image_agrees_with_the_reference() -> None:
    tensors, order = image_operands(2, 96, (40, 50), 16, 6, torch.float64)
    half = [tensor.detach().bfloat16().cuda().requires_grad_() for tensor in tensors]
    y = image_scan_gpu(*half, order.cuda())
    exact = image_scan_reference(*(tensor.detach().float() for tensor in half), order.cuda())
    assert y.dtype == torch.bfloat16
    assert (y - exact).norm() <= 2e-2 * exact.norm()
    assert all(grad.isfinite().all() for grad in gradients(y, half))
