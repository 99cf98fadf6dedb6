"""Random changes of a training patch in Hounsfield units, before the window cuts them off.

A patch is a stack of axial slices ``(S, X, Y)``: the channels of a 2.5-D network, or the depth of a 3-D box. Everything
in-plane is done once for all slices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = 255


@dataclass(frozen=True)
class Augmentation:
    """How far and how often patches change.

    Args:
        rotation_deg: Largest in-plane rotation.
        zoom: Smallest and largest magnification.
        shift_fraction: Largest translation, as a share of the patch.
        flip_prob: Mirror left and right; the labels of an airway have no side.
        offset_hu: Largest calibration shift.
        contrast: Smallest and largest factor on Hounsfield units.
        noise_hu: Largest standard deviation; low values are drawn most often.
        bend: Smallest and largest exponent of the grey-value curve.
        prob: How often each other change happens.
    """

    rotation_deg: float = 20.0
    zoom: tuple[float, float] = (0.7, 1.4)
    shift_fraction: float = 0.2
    flip_prob: float = 0.5
    offset_hu: float = 200.0
    contrast: tuple[float, float] = (0.85, 1.15)
    noise_hu: float = 300.0
    bend: tuple[float, float] = (0.75, 1.35)
    prob: float = 0.3


def draw_matrix(rng: np.random.Generator, how: Augmentation) -> np.ndarray:
    """Return a random in-plane map ``(2, 2)`` from patch offsets to source offsets, both in samples."""
    angle = np.deg2rad(rng.uniform(-how.rotation_deg, how.rotation_deg))
    zoom = np.exp(rng.uniform(*np.log(how.zoom))) * np.exp(rng.uniform(-0.08, 0.08, 2))
    flip = -1.0 if rng.random() < how.flip_prob else 1.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return rotation @ np.diag([flip, 1.0]) @ np.diag(1 / zoom)


def cut(
    slices: Tensor, label: Tensor, centre: np.ndarray, size: tuple[int, int], matrix: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Cut a rotated, scaled window out of a stack, in one interpolation.

    Args:
        slices: int16 HU ``(S, X, Y)``.
        label: uint8 ``(T, X, Y)``.
        centre: Source position of the middle of the window, ``(2,)`` in samples.
        size: Window ``(X, Y)``.
        matrix: ``(2, 2)``, window offsets to source offsets.
    Returns:
        float32 HU ``(S, *size)``, the border repeated outside the source (as the predictor does: air would look like
        an airway), and uint8 ``(T, *size)`` with 255 there.
    """
    rows = torch.arange(size[0], dtype=torch.float32) - (size[0] - 1) / 2
    columns = torch.arange(size[1], dtype=torch.float32) - (size[1] - 1) / 2
    (a, b), (c, d) = matrix.astype(np.float32).tolist()
    x = float(centre[0]) + a * rows[:, None] + b * columns
    y = float(centre[1]) + c * rows[:, None] + d * columns
    # Only what the window touches is converted to float.
    low = [max(0, int(v.min()) - 1) for v in (x, y)]
    high = [min(n, int(v.max()) + 3) for v, n in zip((x, y), slices.shape[1:], strict=True)]
    high = [max(h, lo + 1) for h, lo in zip(high, low, strict=True)]
    low = [min(lo, n - 1) for lo, n in zip(low, slices.shape[1:], strict=True)]
    part = slices[:, low[0] : high[0], low[1] : high[1]].float()
    marks = label[:, low[0] : high[0], low[1] : high[1]].float() - IGNORE
    width, height = part.shape[1:]
    where = torch.stack([(2 * (y - low[1]) + 1) / height - 1, (2 * (x - low[0]) + 1) / width - 1], -1)[None]
    image = F.grid_sample(part[None], where, mode="bilinear", padding_mode="border", align_corners=False)[0]
    # Zero padding means "ignore", because the labels were shifted so.
    named = F.grid_sample(marks[None], where, mode="nearest", padding_mode="zeros", align_corners=False)[0]
    return image, named.add_(IGNORE).to(torch.uint8)


def change(hu: Tensor, label: Tensor, rng: np.random.Generator, how: Augmentation) -> tuple[Tensor, Tensor]:
    """Return the stack with random resolution, noise, calibration and holes.

    Args:
        hu: float32 ``(S, X, Y)``.
        label: uint8 ``(T, X, Y)``; holes become 255.
    """
    for step in RESOLUTION:
        if rng.random() < how.prob:
            hu = step(hu, rng)
    if rng.random() < 0.6:
        hu = add_noise(hu, rng, how.noise_hu)
    hu = calibrate(hu, rng, how)
    return cut_out(hu, label, rng) if rng.random() < how.prob / 2 else (hu, label)


def blur(hu: Tensor, sigma: float) -> Tensor:
    """Return every slice under a Gaussian of `sigma` samples, edges repeated."""
    radius = max(1, round(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    stack = F.pad(hu[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(stack, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))[:, 0]


def soften_or_sharpen(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Imitate a soft or a sharp reconstruction kernel."""
    smooth = blur(hu, rng.uniform(0.5, 1.3))
    return smooth if rng.random() < 0.6 else torch.lerp(smooth, hu, 1 + rng.uniform(0.3, 1.5))


def lower_resolution(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Imitate a coarser matrix: shrink in-plane by up to 3 and enlarge again."""
    factor = rng.uniform(1.3, 3.0)
    small = [max(2, round(n / factor)) for n in hu.shape[1:]]
    coarse = F.interpolate(hu[None], size=small, mode="area")
    return F.interpolate(coarse, size=hu.shape[1:], mode="bilinear", align_corners=False)[0]


def thicken_slices(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Imitate thick slices (each mixed with its neighbours) or lost ones (each replaced by a neighbour)."""
    count = len(hu)
    if count < 3:
        return hu
    index = np.arange(count)
    before, after = np.maximum(index - 1, 0), np.minimum(index + 1, count - 1)
    if rng.random() < 0.6:
        return torch.lerp(hu, (hu[before] + hu[after]) / 2, rng.uniform(0.2, 0.67))
    lost = rng.random(count) < 0.25
    lost[count // 2] = False  # in a 2.5-D stack the label belongs to the middle
    neighbour = np.where(rng.random(count) < 0.5, before, after)
    return hu[np.where(lost, neighbour, index)]


RESOLUTION: tuple[Callable[[Tensor, np.random.Generator], Tensor], ...] = (
    thicken_slices,
    lower_resolution,
    soften_or_sharpen,
)


def add_noise(hu: Tensor, rng: np.random.Generator, largest_hu: float) -> Tensor:
    """Add Gaussian noise, white or with the grain of a kernel, of a standard deviation up to `largest_hu`."""
    noise = torch.from_numpy(rng.standard_normal(tuple(hu.shape), dtype=np.float32))
    if rng.random() < 0.5:
        noise = blur(noise, rng.uniform(0.5, 1.2))
        noise /= noise.std().clamp_min(1e-6)
    # The cube draws low levels most often: a median of an eighth of the largest.
    return hu + noise * float(largest_hu * rng.random() ** 3)


def calibrate(hu: Tensor, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """Change contrast and level, and sometimes bend the grey-value curve between -1000 and 1000 HU."""
    if rng.random() < how.prob:
        unit = ((hu + 1000) / 2000).clamp_(0, 1)
        hu = hu + 2000 * (unit ** float(np.exp(rng.uniform(*np.log(how.bend)))) - unit)
    scale = rng.uniform(*how.contrast) if rng.random() < how.prob else 1.0
    offset = rng.uniform(-how.offset_hu, how.offset_hu) if rng.random() < 0.5 else 0.0
    return hu * float(scale) + float(offset)


def cut_out(hu: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Fill one to three boxes with one value each; nobody is asked what was there."""
    hu, label = hu.clone(), label.clone()
    for _ in range(rng.integers(1, 4)):
        size = [max(1, int(n * rng.uniform(0.05, 0.2))) for n in hu.shape[1:]]
        x, y = (int(rng.integers(0, n - s + 1)) for n, s in zip(hu.shape[1:], size, strict=True))
        hu[:, x : x + size[0], y : y + size[1]] = float(rng.uniform(-1000, 600))
        label[:, x : x + size[0], y : y + size[1]] = IGNORE
    return hu, label
