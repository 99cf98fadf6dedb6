"""Sizes of the restorer by name."""

from collections.abc import Callable
from typing import Any

from lib.models.restoration.cascade import Cascade
from lib.models.restoration.nafnet import NAFNet
from lib.models.restoration.semantics import SamSemantics


def nafnet_gopro(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Return NAFNet as published for deblurring, 17.1 M parameters: 28 blocks at an eighth of the resolution."""
    sizes = {"width": 32, "encoder": (1, 1, 1, 28), "middle": 1, "decoder": (1, 1, 1, 1)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def nafnet_sidd(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Return NAFNet as published for denoising, 29.2 M parameters."""
    sizes = {"width": 32, "encoder": (2, 2, 4, 8), "middle": 12, "decoder": (2, 2, 2, 2)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def nafnet_small(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Return a NAFNet of three scales and 0.4 M parameters, for a few minutes on a CPU."""
    sizes = {"width": 16, "encoder": (1, 1, 2), "middle": 2, "decoder": (1, 1, 1)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def nafnet_tiny(in_channels: int = 1, out_channels: int = 1, **options: Any) -> NAFNet:
    """Return a NAFNet of two scales and a few thousand parameters, for tests and trials."""
    sizes = {"width": 8, "encoder": (1, 1), "middle": 1, "decoder": (1, 1)}
    return NAFNet(in_channels, out_channels, **{**sizes, **options})


def cascade_of(
    build: Callable[..., NAFNet], semantics: SamSemantics | None = None, *, second: bool = True, guided: bool = True
) -> Cascade:
    """Return the cascade of two restorers of one size; what is left out leaves the rest as it was.

    Args:
        build: The size, a value of `lib.models.RESTORERS`.
        semantics: Masks and features; None for a cascade without any.
        second: Whether there is a second stage; without one it is the first alone.
        guided: Whether masks guide it (SPI), where there are any.
    """
    first = build(1, 1)
    if not second:
        return Cascade(first)
    masks = semantics.count if semantics is not None and guided else 0
    return Cascade(first, build(2, 1, guide_channels=masks), semantics)
