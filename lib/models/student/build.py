"""Named sizes of students."""

from __future__ import annotations

from typing import Any

from lib.models.student.conv import StudentConv, build_conv
from lib.models.student.vit import StudentViT, build_vit
from lib.models.topowmamba import TopoWMamba, topowmamba_tiny


def student_conv(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> StudentConv:
    """Build the convolutional student, the fastest one, in 2-D or 3-D."""
    return build_conv(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **overrides)


def student_vit_tiny(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> StudentViT:
    """Build a ViT-Tiny student for slices: patches of 16 x 16 pixels, and a small convolutional
    decoder at 1/4 of the resolution.

    `overrides` replace the defaults of `build_vit`.

    Raises:
        ValueError: If `spatial_dims` is not 2.
    """
    if spatial_dims != 2:
        raise ValueError(f"student_vit_tiny segments slices: spatial_dims must be 2, got {spatial_dims}")
    return build_vit(in_channels=in_channels, out_channels=out_channels, **overrides)


def student_topowmamba(*, spatial_dims: int, in_channels: int, out_channels: int, **overrides) -> TopoWMamba:
    """Build a TopoWMamba that is smaller than topowmamba_tiny, in 2-D or 3-D."""
    options: dict[str, Any] = {"channels": (8, 16, 32, 48, 64), "full_channels": 4, "deep_supervision": False}
    options |= overrides
    return topowmamba_tiny(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, **options)
