"""VM-UNet: a U-Net of state-space blocks only, used for comparison with TopoWMamba and to test its blocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from lib.models.blocks.conv import convolution
from lib.models.blocks.layout import channels_last
from lib.models.blocks.padding import crop, pad_to_multiple
from lib.models.blocks.patches import PatchEmbed, PatchExpand, PatchMerge
from lib.models.blocks.ss2d import SelectiveScanBlock, VSSBlock, drop_rates

PATCH_SIZE = 4


class VMUNet(nn.Module):
    """State-space encoder and decoder with additive skips, patches of side 4 and a final expansion by 4.

    An image of any size is padded to the stride by replication, and the logits are cropped to the size of the image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes.
        dims: Channels per encoder stage; every stage has twice the channels of the stage before.
        depths: Blocks per encoder stage.
        depths_decoder: Blocks per decoder stage, coarsest first.
        d_state: States per channel of a scan.
        drop_path: Drop probability of the deepest block; the probability increases linearly with the depth.
    Raises:
        ValueError: If `spatial_dims` is not 2 or 3, the numbers of stages differ, or `dims` are not multiples of 4 that
            double from stage to stage.
    Source:
        Ruan and Xiang 2024, arXiv:2402.02491.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        dims: Sequence[int] = (96, 192, 384, 768),
        depths: Sequence[int] = (2, 2, 2, 2),
        depths_decoder: Sequence[int] = (2, 2, 2, 1),
        d_state: int = 16,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        _check(dims, depths, depths_decoder)
        self.stride = PATCH_SIZE * 2 ** (len(dims) - 1)
        self.embed = PatchEmbed(spatial_dims, in_channels, dims[0], PATCH_SIZE)
        pairs = list(itertools.pairwise(dims))
        self.merges = nn.ModuleList(PatchMerge(spatial_dims, fine, coarse) for fine, coarse in pairs)
        self.expands = nn.ModuleList(PatchExpand(spatial_dims, coarse, fine) for fine, coarse in reversed(pairs))
        self.encoder = _stages(spatial_dims, dims, depths, d_state, drop_rates(drop_path, sum(depths)))
        self.decoder = _stages(
            spatial_dims, dims[::-1], depths_decoder, d_state, drop_rates(drop_path, sum(depths_decoder))[::-1]
        )
        self.final = PatchExpand(spatial_dims, dims[0], dims[0] // PATCH_SIZE, PATCH_SIZE)
        self.head = convolution(spatial_dims, dims[0] // PATCH_SIZE, out_channels, 1)

    @property
    def classifier(self) -> nn.Module:
        """The layer that computes the logits."""
        return self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, ``(B, K, *S)``, of the image ``x (B, C, *S)``."""
        shape = x.shape[2:]
        x = self.embed(channels_last(pad_to_multiple(x, self.stride)))
        skips = []
        for stage, merge in zip(self.encoder, self.merges, strict=False):
            # As in VM-UNet, the skip is the input of a stage, and the deepest stage has no skip.
            skips.append(merge(stage(x)))
            x = skips[-1]
        x = self.decoder[0](self.encoder[-1](x))
        for stage, expand in zip(self.decoder[1:], self.expands, strict=True):
            x = stage(expand(x + skips.pop()))
        return crop(self.head(self.final(x)), shape)


def _check(dims: Sequence[int], depths: Sequence[int], depths_decoder: Sequence[int]) -> None:
    if not len(dims) == len(depths) == len(depths_decoder):
        raise ValueError(f"dims, depths and depths_decoder differ in length: {dims}, {depths}, {depths_decoder}")
    if dims[0] % PATCH_SIZE or any(coarse != 2 * fine for fine, coarse in itertools.pairwise(dims)):
        raise ValueError(f"dims must be multiples of {PATCH_SIZE} and double from stage to stage, got {dims}")


def _stages(
    spatial_dims: int, dims: Sequence[int], depths: Sequence[int], d_state: int, rates: Sequence[float]
) -> nn.ModuleList:
    drop = iter(rates)
    stages = nn.ModuleList()
    for channels, depth in zip(dims, depths, strict=True):
        mixers = [SelectiveScanBlock(spatial_dims, channels, d_state=d_state) for _ in range(depth)]
        stages.append(nn.Sequential(*(VSSBlock(channels, mixer, drop_path=next(drop)) for mixer in mixers)))
    return stages


def vmunet(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> VMUNet:
    """Build VM-UNet at the published size (27,427,761 parameters in 2-D with 3 input channels and 9 classes)."""
    return VMUNet(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **overrides)


def vmunet_small(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> VMUNet:
    """Build a VM-UNet about the size of topowmamba_small, with one state per channel."""
    options = {"dims": (32, 64, 128, 256), "d_state": 1, "drop_path": 0.1} | overrides
    return VMUNet(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)
