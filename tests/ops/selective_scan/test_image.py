"""The scan of an image agrees with separately scanned sequences, and the C++ scan agrees with the reference."""

import pytest
import torch

from lib.ops.cross_scan import cross_merge, cross_scan
from lib.ops.native.build import library
from lib.ops.scan_paths import PATHS
from lib.ops.selective_scan import image_scan, scan_orders, selective_scan_reference
from lib.ops.selective_scan.image import image_scan_reference
from lib.ops.selective_scan.native import image_scan_native, scan_op
from tests.ops.selective_scan.operands import gradients
from tests.ops.selective_scan.operands import image_operands as operands

# batch, channels, shape, state, rank
IMAGES = [
    (1, 3, (5, 7), 2, 1),
    (2, 70, (4, 9), 1, 3),
    (1, 17, (6, 6), 16, 6),
    (2, 4, (3, 5, 2), 4, 20),
    (1, 1, (1, 3), 3, 2),
]


def scan_sequences(tensors: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    """Make sequences with `cross_scan`, scan them by the plain recurrence, and merge them with `cross_merge`."""
    u, dt, weight, A, B, C, D, bias = tensors
    scans = 2 * len(shape)

    def to_sequences(x: torch.Tensor) -> torch.Tensor:
        return cross_scan(x.transpose(1, 2).unflatten(2, shape))

    delta = torch.stack([dt[:, :, k] @ weight[k].T for k in range(scans)], 2)
    split = [torch.stack([to_sequences(tensor[:, :, k])[:, k] for k in range(scans)], 1) for tensor in (delta, B, C)]
    sequences = to_sequences(u).flatten(1, 2)
    y = selective_scan_reference(
        sequences, split[0].flatten(1, 2), A, split[1], split[2], D, delta_bias=bias, delta_softplus=True
    )
    return cross_merge(y.unflatten(1, (scans, -1)), shape).flatten(2).transpose(1, 2)


def scan(function, tensors: list[torch.Tensor], order: torch.Tensor) -> torch.Tensor:
    return function(*tensors, order)


def test_orders_equal_those_of_cross_scan() -> None:
    assert scan_orders((2, 3)).tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]


def test_all_paths_run_both_ways_and_unknown_paths_raise() -> None:
    for paths in PATHS:
        order = scan_orders((3, 4), paths=paths)
        assert order.shape == (4, 12) and order.dtype == torch.int32
        assert torch.equal(order[2:], order[:2].flip(-1))
    with pytest.raises(ValueError, match="axes, diagonals, hilbert"):
        scan_orders((3, 4), paths="spiral")


@pytest.mark.parametrize(("batch", "channels", "shape", "state", "rank"), IMAGES)
def test_the_reference_is_the_sum_of_its_sequences(
    batch: int, channels: int, shape: tuple[int, ...], state: int, rank: int
) -> None:
    tensors, order = operands(batch, channels, shape, state, rank, torch.float64)
    exact, y = scan_sequences(tensors, shape), scan(image_scan_reference, tensors, order)
    torch.testing.assert_close(y, exact)
    torch.testing.assert_close(gradients(y, tensors), gradients(exact, tensors))


@pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize(("batch", "channels", "shape", "state", "rank"), IMAGES)
@pytest.mark.parametrize(("dtype", "absolute"), [(torch.float64, 1e-13), (torch.float32, 5e-6)])
def test_the_native_scan_is_the_sum_of_its_sequences(
    batch: int, channels: int, shape: tuple[int, ...], state: int, rank: int, dtype: torch.dtype, absolute: float
) -> None:
    doubles, order = operands(batch, channels, shape, state, rank, torch.float64)
    tensors, _ = operands(batch, channels, shape, state, rank, dtype)
    exact, y = scan_sequences(doubles, shape), scan(image_scan_native, tensors, order)
    assert y.dtype == dtype
    assert (y.double() - exact).abs().max() <= absolute * max(1.0, float(exact.detach().abs().max()))
    for grad, wanted in zip(gradients(y, tensors), gradients(exact, doubles), strict=True):
        assert grad.shape == wanted.shape
        assert (grad.double() - wanted).abs().max() <= absolute * max(1.0, float(wanted.abs().max()))


@pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("paths", PATHS)
@pytest.mark.parametrize(("batch", "channels", "shape", "state"), [(2, 33, (7, 11), 4), (2, 5, (3, 5, 4), 16)])
def test_operands_can_have_any_memory_layout_along_all_paths(
    batch: int, channels: int, shape: tuple[int, ...], state: int, paths: str
) -> None:
    tensors, _ = operands(batch, channels, shape, state, 3, torch.float64)
    order = scan_orders(shape, paths=paths)
    strided = [tensor.detach().repeat_interleave(2, -1)[..., ::2].requires_grad_() for tensor in tensors]
    assert not strided[0].is_contiguous()
    exact, y = image_scan_reference(*tensors, order), image_scan_native(*strided, order)
    torch.testing.assert_close(y, exact, atol=1e-12, rtol=1e-12)
    for found, wanted in zip(gradients(y, strided), gradients(exact, tensors), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-11)


@pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")
def test_gradcheck_of_the_projected_steps() -> None:
    tensors, order = operands(2, 3, (3, 3), 2, 3, torch.float64)
    assert torch.autograd.gradcheck(lambda *args: image_scan_native(*args, order), tuple(tensors))


@pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")
def test_every_element_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "empty_like", lambda x, **_: torch.full_like(x, float("nan"), requires_grad=False))
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda x, *size: x.detach().new_full(size, float("nan")))
    tensors, order = operands(2, 150, (5, 7), 3, 5, torch.float32)
    y = image_scan_native(*tensors, order)
    assert y.isfinite().all() and all(grad.isfinite().all() for grad in gradients(y, tensors))


@pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")
def test_operator_passes_opcheck() -> None:
    tensors, order = operands(2, 6, (3, 4), 2, 3, torch.float32)
    torch.library.opcheck(scan_op, (*(tensor.detach().requires_grad_() for tensor in tensors), order, True, True))


@pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")
def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            tensors, order = operands(2, 130, (9, 8), 4, 5, torch.float32)
            y = scan(image_scan, tensors, order)
            found.append((y, *gradients(y, tensors)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
