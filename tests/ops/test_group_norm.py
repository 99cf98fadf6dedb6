"""Group normalisation: the kernel beside torch's in double precision, gradients, threads, every element written."""

import pytest
import torch
import torch.nn.functional as F

from lib.ops.group_norm import GroupNorm
from lib.ops.native import group_norm as native
from lib.ops.native.build import library

built = pytest.mark.skipif(library() is None, reason="no C++ compiler")
SHAPES = [((1, 4, 3, 5), 2), ((2, 24, 40, 30), 8), ((3, 17, 7, 9), 1), ((2, 6, 3, 4, 5), 3), ((1, 32, 33, 31), 8)]


def last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


@built
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
def test_values_and_gradients(shape: tuple[int, ...], groups: int, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    layer = GroupNorm(groups, shape[1])
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x, dy = torch.randn(shape) * 3 + 5, torch.randn(shape)
    wanted_x, wanted = x.double().requires_grad_(), layer.double()
    y = F.group_norm(wanted_x, groups, wanted.weight, wanted.bias)
    wanted_all = [y, *torch.autograd.grad((y * dy).sum(), (wanted_x, wanted.weight, wanted.bias))]
    layer = layer.to(dtype)
    x = last(x.to(dtype)).requires_grad_()
    assert native.serves(x, layer.weight)
    y = layer(x)
    got = [y, *torch.autograd.grad((y * dy.to(dtype)).sum(), (x, layer.weight, layer.bias))]
    for one, other in zip(got, wanted_all, strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(one.double(), other, atol=tolerance * scale, rtol=0)


@built
def test_a_level_far_from_zero_does_not_cancel() -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 8, 64, 64) + 3000
    y = GroupNorm(2, 8)(last(x))
    assert (y.double() - F.group_norm(x.double(), 2)).abs().max() < 2e-3
    assert y.std().item() == pytest.approx(1, abs=1e-3)


@built
def test_every_element_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 5, 6, 7)
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, shape: self.new_full(shape, float("nan")))
    y, mean, rstd = native.group_norm_op(x, torch.ones(7), torch.zeros(7), 7, 1e-5)
    gradients = native.group_norm_backward_op(y, x, torch.ones(7), mean, rstd)
    assert all(each.isfinite().all() for each in (y, mean, rstd, *gradients))


@built
def test_threads_change_nothing() -> None:
    x, threads = torch.randn(2, 60, 50, 12), torch.get_num_threads()
    try:
        answers = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            y, mean, rstd = native.group_norm_op(x, torch.ones(12), torch.zeros(12), 4, 1e-5)
            answers.append([y, mean, rstd, *native.group_norm_backward_op(y, x, torch.ones(12), mean, rstd)])
    finally:
        torch.set_num_threads(threads)
    for answer in answers[1:]:
        assert all(torch.equal(a, b) for a, b in zip(answers[0], answer, strict=True))


@built
def test_gradients_by_differences_and_as_an_operator() -> None:
    x, weight, bias = torch.randn(2, 3, 2, 4), torch.randn(4), torch.randn(4)
    double = [each.double().requires_grad_() for each in (x, weight, bias)]
    assert torch.autograd.gradcheck(lambda *each: native.group_norm_op(*each, 2, 1e-5)[0], double)
    torch.library.opcheck(native.group_norm_op, (x.requires_grad_(), weight, bias, 2, 1e-5))


def test_planes_and_other_types_go_to_torch() -> None:
    layer, x = GroupNorm(2, 4), torch.randn(2, 4, 5, 6)
    assert not native.serves(x, layer.weight) and not native.serves(last(x).bfloat16(), layer.weight)
    torch.testing.assert_close(layer(x), F.group_norm(x, 2))
