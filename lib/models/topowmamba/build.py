"""The builder of TopoWMamba and its named sizes.

The paper specifies the blocks, the five stages and the deep supervision. It does not specify depths, channels, the
blocks of each stage, the wavelet, kernels and states; these are arguments, and the defaults are this project's. Related
networks use a scan expansion of 2 and concatenated skips. The defaults are an expansion of 1 and added skips, which
halves the time of the base size at 256x256.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from lib.models.blocks.conv import ConvUnit, ResidualBlock
from lib.models.blocks.layout import convert_to_channels_last
from lib.models.blocks.patches import PatchEmbed, PatchMerge
from lib.models.blocks.ss2d import SelectiveScanBlock, VSSBlock, drop_rates
from lib.models.topowmamba.decoder import Decoder
from lib.models.topowmamba.encoder import Encoder
from lib.models.topowmamba.network import TopoWMamba
from lib.models.topowmamba.scvss import SCVSSBlock
from lib.models.topowmamba.wmb import wavelet_mixer

KINDS = ("conv", "vss", "scvss")
STAGES = 4


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """Options that the blocks of all stages share.

    Args:
        d_state: States per channel of a scan.
        expand: Ratio of the inner channels of a scan to the channels of the stage.
        wmb_design: Design of the wavelet Mamba block, ``"residual"`` or ``"split"``.
        wavelet: PyWavelets name of the wavelet.
        wavelet_kernel: Kernel size of the depthwise convolution on the bands, in samples of a band.
        snake_kernel: Number of samples along a snake convolution.
        snake_ratio: Ratio of the channels of the stage to the channels of a branch of SCVSS.
    """

    d_state: int = 16
    expand: float = 1.0
    wmb_design: str = "residual"
    wavelet: str = "haar"
    wavelet_kernel: int = 5
    snake_kernel: int = 9
    snake_ratio: int = 4


@dataclass(frozen=True)
class _StageBuilder:
    spatial_dims: int
    options: BlockOptions
    drop_rates: Iterator[float]

    def blocks(self, channels: int, depth: int, kind: str, wmb: bool) -> list[nn.Module]:
        """Build the blocks of a stage; in an SCVSS stage the last block is SCVSS and the other blocks are VSS."""
        kinds = [kind] * depth if kind != "scvss" else ["vss"] * (depth - 1) + ["scvss"]
        return [self._block(channels, kind, wmb) for kind in kinds]

    def _block(self, channels: int, kind: str, wmb: bool) -> nn.Module:
        drop_path = next(self.drop_rates)
        if kind == "conv":
            return ResidualBlock(self.spatial_dims, channels, channels)
        mixer = self._mixer(channels, wmb)
        if kind == "vss":
            return VSSBlock(channels, mixer, drop_path=drop_path)
        ratio, kernel = self.options.snake_ratio, self.options.snake_kernel
        return SCVSSBlock(
            self.spatial_dims, channels, mixer, snake_ratio=ratio, kernel_size=kernel, drop_path=drop_path
        )

    def _mixer(self, channels: int, wmb: bool) -> nn.Module:
        options = self.options
        scan = SelectiveScanBlock(self.spatial_dims, channels, d_state=options.d_state, expand=options.expand)
        if not wmb:
            return scan
        return wavelet_mixer(
            options.wmb_design,
            self.spatial_dims,
            channels,
            scan,
            wavelet=options.wavelet,
            kernel_size=options.wavelet_kernel,
        )


def topowmamba(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = (48, 96, 192, 384, 768),
    full_channels: int = 16,
    depths: Sequence[int] = (2, 2, 2, 2),
    stage_blocks: Sequence[str] = ("scvss", "scvss", "scvss", "vss"),
    wmb_stages: Sequence[bool] = (True, True, True, True),
    stem_kernel: int = 7,
    add_skips: bool = True,
    drop_path: float = 0.1,
    deep_supervision: bool = True,
    use_wmb: bool = True,
    use_scvss: bool = True,
    **block_options,
) -> TopoWMamba:
    """Build TopoWMamba of any size, in 2-D or 3-D.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image.
        out_channels: Classes.
        channels: Channels at 1/2 (the stem), 1/4, 1/8, 1/16 and 1/32 of the resolution.
        full_channels: Channels at full resolution: of the skip from the image and of the last residual block.
        depths: Number of blocks per stage, at 1/4 to 1/32.
        stage_blocks: Kind of block per stage, at 1/4 to 1/32: ``"conv"`` (residual convolutions), ``"vss"``, or
            ``"scvss"`` (the last block is SCVSS, the other blocks are VSS).
        wmb_stages: Whether the scans are wavelet Mamba blocks, per stage at 1/4 to 1/32.
        stem_kernel: Kernel size of the convolution of the stem, in samples.
        add_skips: Whether to add the features of the encoder to those of the decoder instead of concatenating them.
        drop_path: Drop probability of the deepest block; the probability increases linearly with the depth.
        deep_supervision: Whether to return logits at 1, 1/2, 1/4 and 1/8 in training.
        use_wmb: False replaces every WMB by a plain scan (ablation).
        use_scvss: False replaces every SCVSS block by a VSS block (ablation).
        block_options: Fields of `BlockOptions`.
    Returns:
        The network with new, untrained weights.
    Raises:
        ValueError: If an argument is out of its range, or the lists have the wrong length.
        TypeError: If an argument is unknown.
    """
    _check(channels, depths, stage_blocks, wmb_stages)
    kinds = [kind if use_scvss or kind != "scvss" else "vss" for kind in stage_blocks]
    rates = iter(drop_rates(drop_path, sum(depths)))
    builder = _StageBuilder(spatial_dims, BlockOptions(**block_options), rates)
    stages = []
    for i, (fine, coarse) in enumerate(itertools.pairwise(channels)):
        down = PatchEmbed(spatial_dims, fine, coarse, 2) if i == 0 else PatchMerge(spatial_dims, fine, coarse)
        stages.append(nn.Sequential(down, *builder.blocks(coarse, depths[i], kinds[i], use_wmb and wmb_stages[i])))
    full = ConvUnit(spatial_dims, in_channels, full_channels, normalise=False)
    stem = ConvUnit(spatial_dims, in_channels, channels[0], stem_kernel, normalise=False, stride=2)
    heads = STAGES if deep_supervision else 1
    decoder = Decoder(spatial_dims, (full_channels, *channels), out_channels, heads=heads, add_skips=add_skips)
    return convert_to_channels_last(TopoWMamba(Encoder(full, stem, stages), decoder))


def _check(
    channels: Sequence[int],
    depths: Sequence[int],
    stage_blocks: Sequence[str],
    wmb_stages: Sequence[bool],
) -> None:
    if len(channels) != STAGES + 1:
        raise ValueError(f"channels needs {STAGES + 1} entries (1/2 to 1/32), got {tuple(channels)}")
    for name, values in (("depths", depths), ("stage_blocks", stage_blocks), ("wmb_stages", wmb_stages)):
        if len(values) != STAGES:
            raise ValueError(f"{name} needs {STAGES} entries (1/4 to 1/32), got {tuple(values)}")
    if unknown := set(stage_blocks) - set(KINDS):
        raise ValueError(f"unknown stage_blocks {', '.join(sorted(unknown))}; use {', '.join(KINDS)}")


def topowmamba_tiny(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> TopoWMamba:
    """Build the smallest size, for the CPU of a laptop and for tests."""
    options: dict[str, Any] = {"channels": (16, 32, 48, 64, 96), "full_channels": 8} | _LIGHT | overrides
    return topowmamba(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)


def topowmamba_small(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> TopoWMamba:
    """Build the size that trains on a few CPU cores and is served by default."""
    options: dict[str, Any] = {"channels": (32, 64, 96, 160, 224)} | _LIGHT | overrides
    return topowmamba(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)


def topowmamba_base(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> TopoWMamba:
    """Build the size of the published network, 48 to 768 channels with 16 states per channel."""
    return topowmamba(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **overrides)


# Without native kernels a scan takes most of the time of a step. So the small sizes have no scan at 1/4, where
# sequences are longest, and one state per channel.
_LIGHT = {
    "depths": (1, 1, 1, 1),
    "stage_blocks": ("conv", "scvss", "scvss", "vss"),
    "stem_kernel": 5,
    "d_state": 1,
}
