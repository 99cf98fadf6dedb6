"""Dynamic snake convolution: a strip kernel whose samples leave the axis by learned offsets."""

from itertools import product
from math import gcd

import torch
from torch import Tensor, nn

from lib.ops.native import snake

_GROUPS = 8


class DynamicSnakeConv(nn.Module):
    """Convolve along one axis with a kernel that bends along the other axes.

    The centre of the kernel is fixed and the offsets accumulate outward from it, so the samples form a continuous
    curve. Positions along the axis are integers; values are interpolated along the other axes only. Coordinates are
    clamped to the image, which repeats the values at its border.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Samples along the strip, odd.
        axis: Spatial axis of the strip.
        extend_scope: Largest offset from one sample to the next, in samples.
    Raises:
        ValueError: If the axis does not exist or the kernel is even.
    Source:
        Qi et al. 2023, arXiv:2307.08388.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 9,
        axis: int = 0,
        extend_scope: float = 1.0,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3) or not 0 <= axis < spatial_dims:
            raise ValueError(f"a snake needs 2 or 3 spatial axes and one of them, got {spatial_dims} and axis {axis}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"the kernel needs a centre: an odd size, got {kernel_size}")
        self.spatial_dims, self.kernel_size = spatial_dims, kernel_size
        self.axis, self.extend_scope = axis, extend_scope
        across = spatial_dims - 1
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.offset_conv = conv(in_channels, across * kernel_size, 3, padding=1)
        self.offset_norm = nn.GroupNorm(across, across * kernel_size)
        self.strip = nn.Linear(kernel_size * in_channels, out_channels)
        self.norm = nn.GroupNorm(gcd(out_channels, _GROUPS), out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, out_channels, *S)`` of `x`, ``(B, in_channels, *S)``."""
        offsets = torch.tanh(self.offset_norm(self.offset_conv(x))) * self.extend_scope
        return torch.relu(self.norm(self.convolve(x, offsets)))

    def convolve(self, x: Tensor, offsets: Tensor) -> Tensor:
        """Return the bent strip convolution alone.

        Args:
            x: Input, ``(B, in_channels, *S)``.
            offsets: Steps from sample to sample, ``(B, (d - 1) k, *S)``, in samples: the k steps along the first other
                axis, then the k steps along the second.
        Returns:
            ``(B, out_channels, *S)``, before normalisation.
        """
        # Positions need float32 even where autocast made the offsets bfloat16, which misses integers above 256.
        steps = offsets.to(torch.promote_types(offsets.dtype, torch.float32))
        curves = self._accumulate(steps.unflatten(1, (self.spatial_dims - 1, self.kernel_size)))
        if snake.supports(x, curves):
            along = curves.movedim((1, 2), (-2, -1)).contiguous()
            samples = snake.snake_op(x.movedim(1, -1).contiguous(), along, self.axis)
        else:
            samples = self._sample(x, curves)
        return self.strip(samples.flatten(-2)).movedim(-1, 1)

    def _accumulate(self, steps: Tensor) -> Tensor:
        """Return the distance of each sample from the axis, ``(B, d - 1, k, *S)``: the steps summed from the centre."""
        centre = self.kernel_size // 2
        before = steps[:, :, :centre].flip(2).cumsum(2).flip(2)
        after = steps[:, :, centre + 1 :].cumsum(2)
        return torch.cat((before, torch.zeros_like(steps[:, :, :1]), after), 2)

    def _sample(self, x: Tensor, curves: Tensor) -> Tensor:
        """Return the samples along each curve, ``(B, *S, k, C)``, by linear interpolation across the axis."""
        shape = x.shape[2:]
        strides = [shape[axis + 1 :].numel() for axis in range(self.spatial_dims)]
        others = [axis for axis in range(self.spatial_dims) if axis != self.axis]
        start = self._along(shape, x.device) * strides[self.axis]
        image = torch.arange(x.shape[0], device=x.device) * shape.numel()
        start = start + image.reshape(-1, *[1] * (self.spatial_dims + 1))
        corners = [self._corners(curves[:, i], shape, axis) for i, axis in enumerate(others)]
        rows = x.movedim(1, -1).flatten(0, -2)
        total: Tensor | None = None
        for choice in product((0, 1), repeat=len(others)):
            index, weight = start, torch.ones((), dtype=x.dtype, device=x.device)
            for axis, pair, side in zip(others, corners, choice, strict=True):
                position, fraction = pair[side]
                index, weight = index + position * strides[axis], weight * fraction
            # Copy all channels of a sample at once, because they are contiguous.
            part = rows.index_select(0, index.flatten()).unflatten(0, index.shape) * weight.to(x.dtype).unsqueeze(-1)
            total = part if total is None else total + part
        assert total is not None
        return total.movedim(1, -2)

    def _along(self, shape: torch.Size, device: torch.device) -> Tensor:
        """Return the clamped position of each sample along the axis, broadcastable to ``(B, k, *S)``."""
        view = [1] * (self.spatial_dims + 2)
        reach = torch.arange(self.kernel_size, device=device) - self.kernel_size // 2
        view_k, view_s = view.copy(), view.copy()
        view_k[1], view_s[2 + self.axis] = -1, -1
        here = torch.arange(shape[self.axis], device=device).reshape(view_s)
        return (here + reach.reshape(view_k)).clamp(0, shape[self.axis] - 1)

    def _corners(self, curve: Tensor, shape: torch.Size, axis: int) -> list[tuple[Tensor, Tensor]]:
        """Return index and interpolation weight of the two neighbours along `axis`, all ``(B, k, *S)``."""
        view = [1] * curve.ndim
        view[2 + axis] = -1
        here = torch.arange(shape[axis], device=curve.device, dtype=curve.dtype).reshape(view)
        position = (here + curve).clamp(0, shape[axis] - 1)
        low = position.detach().floor().clamp(max=max(shape[axis] - 2, 0))
        fraction = position - low
        first = low.long()
        return [(first, 1 - fraction), ((first + 1).clamp(max=shape[axis] - 1), fraction)]
