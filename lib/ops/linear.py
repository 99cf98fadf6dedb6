"""The linear layer on oneDNN's matrix product, which on a CPU that is not Intel's is twice as fast as torch's BLAS."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x weight^T + bias``, by oneDNN for float32 on a CPU and as torch does elsewhere.

    Args:
        x: Input, ``(*, C_in)``.
        weight: ``(C_out, C_in)``.
        bias: ``(C_out,)``.
    Returns:
        ``(*, C_out)``.
    Raises:
        RuntimeError: If the channels differ.
    """
    operands = (x, weight) if bias is None else (x, weight, bias)
    single = all(each.device.type == "cpu" and each.dtype == torch.float32 for each in operands)
    # A traced network is for another engine, which has its own product.
    elsewhere = torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or not torch.backends.mkldnn.is_available()
    if not single or not x.numel() or elsewhere:
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and any(each.requires_grad for each in operands):
        return _Linear.apply(x, weight, bias)
    return _product(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dy, rows = grads[0].reshape(-1, len(weight)), x.reshape(-1, x.shape[-1])
        dx = _product(grads[0], weight.t()) if ctx.needs_input_grad[0] else None
        dweight = _product(dy.t(), rows.t()) if ctx.needs_input_grad[1] else None
        return dx, dweight, dy.sum(0) if ctx.needs_input_grad[2] else None


class Linear(nn.Linear):
    """``nn.Linear`` through `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``(*, out_features)`` of ``(*, in_features)``."""
        return linear(input, self.weight, self.bias)
