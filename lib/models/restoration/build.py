"""Named sizes of NAFNet, and the builder of the cascade."""

from collections.abc import Callable
from typing import Any

from lib.models.restoration.cascade import Cascade
from lib.models.restoration.nafnet import NAFNet
from lib.models.restoration.semantics import SamSemantics


def nafnet_gopro(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Build NAFNet at the size published for deblurring, 17.1 M parameters."""
    sizes = {"width": 32, "encoder": (1, 1, 1, 28), "middle": 1, "decoder": (1, 1, 1, 1)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def nafnet_sidd(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Build NAFNet at the size published for denoising, 29.2 M parameters."""
    sizes = {"width": 32, "encoder": (2, 2, 4, 8), "middle": 12, "decoder": (2, 2, 2, 2)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def nafnet_small(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Build a NAFNet with three scales and 0.4 M parameters, which trains on a CPU in a few minutes."""
    sizes = {"width": 16, "encoder": (1, 1, 2), "middle": 2, "decoder": (1, 1, 1)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def nafnet_tiny(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Build a NAFNet with two scales and a few thousand parameters, for tests."""
    sizes = {"width": 8, "encoder": (1, 1), "middle": 1, "decoder": (1, 1)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def build_cascade(
    build: Callable[..., NAFNet], semantics: SamSemantics | None = None, *, second: bool = True, guided: bool = True
) -> Cascade:
    """Build the cascade of two restorers of one size; leaving a part out does not change the other parts.

    Args:
        build: Builder of a restorer, a value of `lib.models.RESTORERS`.
        semantics: Provider of masks and features; None for a cascade without them.
        second: Whether to build the second stage.
        guided: Whether masks guide the second stage (SPI), if `semantics` is given.
    """
    first = build(1, 1)
    if not second:
        return Cascade(first)
    masks = semantics.count if semantics is not None and guided else 0
    return Cascade(first, build(2, 1, guide_channels=masks), semantics)
