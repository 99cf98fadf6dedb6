"""Random changes of training patches, on stored intensities before the window is applied.

A patch is a stack of axial slices ``(S, X, Y)``: the channels of a 2.5-D network, or the slices of a 3-D patch.
In-plane changes are the same for all slices. The defaults suit a CT in Hounsfield units.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.ops.mirror import Mirroring

IGNORE = 255


@dataclass(frozen=True)
class Augmentation:
    """Ranges and probabilities of the random changes.

    Args:
        rotation_deg: Largest in-plane rotation, in degrees.
        zoom: Smallest and largest magnification.
        shift_fraction: Largest translation, as a fraction of the patch size.
        flip_prob: Probability that a patch is mirrored left to right, if `mirroring` allows it.
        mirroring: Classes that a mirrored patch exchanges; None mirrors no patch.
        offset: Largest calibration shift, in units of the stored intensities.
        contrast: Smallest and largest factor on the intensities.
        noise_sd: Largest standard deviation of the noise, in units of the stored intensities; low values are most
            frequent.
        bend: Smallest and largest exponent of the intensity curve.
        prob: Probability of each of the other changes.
    """

    rotation_deg: float = 20.0
    zoom: tuple[float, float] = (0.7, 1.4)
    shift_fraction: float = 0.2
    flip_prob: float = 0.5
    mirroring: Mirroring | None = None
    offset: float = 200.0
    contrast: tuple[float, float] = (0.85, 1.15)
    noise_sd: float = 300.0
    bend: tuple[float, float] = (0.75, 1.35)
    prob: float = 0.3


def draw_matrix(rng: np.random.Generator, how: Augmentation) -> np.ndarray:
    """Return a random in-plane matrix ``(2, 2)`` from patch offsets to source offsets, both in samples.

    The determinant is negative if the patch is mirrored. Only the first axis, right-left, is ever mirrored.
    """
    angle = np.deg2rad(rng.uniform(-how.rotation_deg, how.rotation_deg))
    zoom = np.exp(rng.uniform(*np.log(how.zoom))) * np.exp(rng.uniform(-0.08, 0.08, 2))
    # The number is drawn in any case, so that all other changes are the same with and without mirroring.
    flip = -1.0 if rng.random() < how.flip_prob and how.mirroring is not None else 1.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return rotation @ np.diag([flip, 1.0]) @ np.diag(1 / zoom)


def cut_patch(
    slices: Tensor, label: Tensor, centre: np.ndarray, size: tuple[int, int], matrix: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Cut a rotated, scaled patch out of a stack of slices with a single interpolation.

    Args:
        slices: Intensities, int16 ``(S, X, Y)``.
        label: Labels, uint8 ``(T, X, Y)``.
        centre: Source position of the centre of the patch, ``(2,)`` in samples.
        size: Size of the patch, ``(X, Y)`` in samples.
        matrix: Matrix ``(2, 2)`` from patch offsets to source offsets.
    Returns:
        Intensities, float32 ``(S, *size)``, and labels, uint8 ``(T, *size)``. Outside the source, the border is
        repeated as the predictor does, because air would look like an airway, and the label is 255.
    """
    rows = torch.arange(size[0], dtype=torch.float32) - (size[0] - 1) / 2
    columns = torch.arange(size[1], dtype=torch.float32) - (size[1] - 1) / 2
    (a, b), (c, d) = matrix.astype(np.float32).tolist()
    x = float(centre[0]) + a * rows[:, None] + b * columns
    y = float(centre[1]) + c * rows[:, None] + d * columns
    # Only the part of the source that the patch touches is converted to float.
    low = [max(0, int(v.min()) - 1) for v in (x, y)]
    high = [min(n, int(v.max()) + 3) for v, n in zip((x, y), slices.shape[1:], strict=True)]
    high = [max(h, lo + 1) for h, lo in zip(high, low, strict=True)]
    low = [min(lo, n - 1) for lo, n in zip(low, slices.shape[1:], strict=True)]
    part = slices[:, low[0] : high[0], low[1] : high[1]].float()
    marks = label[:, low[0] : high[0], low[1] : high[1]].float() - IGNORE
    width, height = part.shape[1:]
    where = torch.stack([(2 * (y - low[1]) + 1) / height - 1, (2 * (x - low[0]) + 1) / width - 1], -1)[None]
    image = F.grid_sample(part[None], where, mode="bilinear", padding_mode="border", align_corners=False)[0]
    # The labels are shifted by -255, so that zero padding means "ignore".
    cut = F.grid_sample(marks[None], where, mode="nearest", padding_mode="zeros", align_corners=False)[0]
    return image, cut.add_(IGNORE).to(torch.uint8)


def change_intensities(
    image: Tensor, label: Tensor, rng: np.random.Generator, how: Augmentation
) -> tuple[Tensor, Tensor]:
    """Return the stack and its labels with random resolution, noise, calibration and cut-out boxes.

    Args:
        image: Intensities, float32 ``(S, X, Y)``.
        label: Labels, uint8 ``(T, X, Y)``; the label of cut-out boxes becomes 255.
        rng: Random generator.
        how: Ranges and probabilities.
    """
    for step in RESOLUTION_CHANGES:
        if rng.random() < how.prob:
            image = step(image, rng)
    if rng.random() < 0.6:
        image = add_noise(image, rng, how.noise_sd)
    image = calibrate(image, rng, how)
    return cut_out(image, label, rng) if rng.random() < how.prob / 2 else (image, label)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Return the slices ``(S, X, Y)`` smoothed in-plane by a Gaussian of `sigma` samples; the border is repeated."""
    radius = max(1, round(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    stack = F.pad(image[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(stack, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))[:, 0]


def soften_or_sharpen(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Simulate a soft or a sharp reconstruction kernel."""
    smooth = blur(image, rng.uniform(0.5, 1.3))
    return smooth if rng.random() < 0.6 else torch.lerp(smooth, image, 1 + rng.uniform(0.3, 1.5))


def lower_resolution(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Simulate a coarser image matrix: downsample in-plane by a factor of up to 3, and upsample again."""
    factor = rng.uniform(1.3, 3.0)
    small = [max(2, round(n / factor)) for n in image.shape[1:]]
    coarse = F.interpolate(image[None], size=small, mode="area")
    return F.interpolate(coarse, size=image.shape[1:], mode="bilinear", align_corners=False)[0]


def thicken_slices(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Simulate thick slices, mixed with their neighbours, or missing slices, replaced by a neighbour."""
    count = len(image)
    if count < 3:
        return image
    index = np.arange(count)
    before, after = np.maximum(index - 1, 0), np.minimum(index + 1, count - 1)
    if rng.random() < 0.6:
        return torch.lerp(image, (image[before] + image[after]) / 2, rng.uniform(0.2, 0.67))
    lost = rng.random(count) < 0.25
    lost[count // 2] = False  # the label of a 2.5-D stack belongs to the middle slice
    neighbour = np.where(rng.random(count) < 0.5, before, after)
    return image[np.where(lost, neighbour, index)]


RESOLUTION_CHANGES: tuple[Callable[[Tensor, np.random.Generator], Tensor], ...] = (
    thicken_slices,
    lower_resolution,
    soften_or_sharpen,
)


def add_noise(image: Tensor, rng: np.random.Generator, largest_sd: float) -> Tensor:
    """Add white or spatially correlated Gaussian noise with a standard deviation of up to `largest_sd`."""
    noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
    if rng.random() < 0.5:
        noise = blur(noise, rng.uniform(0.5, 1.2))
        noise /= noise.std().clamp_min(1e-6)
    # The cube favours low levels: the median is an eighth of the largest.
    return image + noise * float(largest_sd * rng.random() ** 3)


def calibrate(image: Tensor, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """Change contrast and level at random, and bend the intensity curve between -1000 and 1000 with `how.prob`."""
    if rng.random() < how.prob:
        unit = ((image + 1000) / 2000).clamp_(0, 1)
        image = image + 2000 * (unit ** float(np.exp(rng.uniform(*np.log(how.bend)))) - unit)
    scale = rng.uniform(*how.contrast) if rng.random() < how.prob else 1.0
    offset = rng.uniform(-how.offset, how.offset) if rng.random() < 0.5 else 0.0
    return image * float(scale) + float(offset)


def cut_out(image: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Fill one to three boxes with one random intensity each, and set their label to 255."""
    image, label = image.clone(), label.clone()
    for _ in range(rng.integers(1, 4)):
        size = [max(1, int(n * rng.uniform(0.05, 0.2))) for n in image.shape[1:]]
        x, y = (int(rng.integers(0, n - s + 1)) for n, s in zip(image.shape[1:], size, strict=True))
        image[:, x : x + size[0], y : y + size[1]] = float(rng.uniform(-1000, 600))
        label[:, x : x + size[0], y : y + size[1]] = IGNORE
    return image, label
