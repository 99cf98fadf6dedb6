"""The oneDNN product against torch's, values and gradients, on operands of any layout."""

import pytest
import torch
import torch.nn.functional as F

from lib.ops.linear import Linear, linear


def operands(*shape: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    sizes = [shape, (5, shape[-1]), (5,)]
    return [torch.randn(*size, generator=draw).to(dtype).requires_grad_() for size in sizes]


@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 7), (2, 1, 3, 7), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_is_torch_s_linear(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    tensors = operands(*shape, dtype=dtype)[: 3 if bias else 2]
    y, wanted = linear(*tensors), F.linear(*tensors)
    assert y.shape == wanted.shape and y.dtype == dtype
    torch.testing.assert_close(y, wanted)
    weight = torch.linspace(-1, 1, y.numel(), dtype=dtype).view_as(y)
    found, exact = (torch.autograd.grad((each * weight).sum(), tensors) for each in (y, wanted))
    torch.testing.assert_close(found, exact)


def test_reads_operands_of_any_layout() -> None:
    x, weight, _ = operands(3, 6, 7)
    strided, turned = x.detach()[:, ::2], weight.detach().t().contiguous().t()
    torch.testing.assert_close(linear(strided, turned), F.linear(strided, turned))
    torch.testing.assert_close(linear(x.detach().transpose(0, 1), turned), F.linear(x, weight).transpose(0, 1))


def test_what_needs_no_gradient_gets_none() -> None:
    x, weight, bias = operands(4, 7)
    linear(x.detach(), weight, bias.detach()).sum().backward()
    assert x.grad is None and bias.grad is None and weight.grad is not None


def test_autocast_is_respected() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(*operands(4, 7)).dtype == torch.bfloat16


def test_an_empty_batch_stays_empty() -> None:
    assert Linear(7, 5)(torch.zeros(0, 7)).shape == (0, 5)


def test_channels_that_differ_are_refused() -> None:
    with pytest.raises(RuntimeError):
        Linear(7, 5)(torch.zeros(2, 6))
