"""Random changes of training patches, on intensities in units of their usual range (`lib.data.intensity`), unclamped.

A patch is a stack of axial slices with channels, ``(S, C, X, Y)``: the slices that a 2.5-D network takes, or the slices
of a 3-D patch. Changes of a patch are the same for all its slices; those of intensities differ between channels.
"""

from collections.abc import Callable, Sequence
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
        tilt_deg: Largest rotation of a 3-D patch out of the axial plane, about either axis, in degrees.
        zoom: Smallest and largest magnification.
        shift_fraction: Largest translation, as a fraction of the patch size.
        flip_prob: Probability that a patch is mirrored left to right, if `mirroring` allows it.
        mirroring: Classes that a mirrored patch exchanges; None mirrors no patch.
        offset: Largest shift of the intensities, in units of their usual range.
        contrast: Smallest and largest factor on the intensities.
        noise_sd: Largest standard deviation of the noise, in units of the usual range; low values are most frequent.
        bend: Smallest and largest exponent of the intensity curve (gamma).
        bias_field: Largest logarithm of a gain that varies smoothly over the patch, as coils cause in MR; 0 for none.
        prob: Probability of each of the other changes.
    """

    rotation_deg: float = 20.0
    tilt_deg: float = 10.0
    zoom: tuple[float, float] = (0.7, 1.4)
    shift_fraction: float = 0.2
    flip_prob: float = 0.5
    mirroring: Mirroring | None = None
    offset: float = 0.15
    contrast: tuple[float, float] = (0.85, 1.15)
    noise_sd: float = 0.2
    bend: tuple[float, float] = (0.75, 1.35)
    bias_field: float = 0.0
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


def draw_matrix_3d(rng: np.random.Generator, how: Augmentation, spacing_mm: Sequence[float]) -> np.ndarray:
    """Return a random matrix ``(3, 3)`` from patch offsets to source offsets, both in samples, axes ``(Z, X, Y)``.

    It is `draw_matrix` in the axial plane, followed by a zoom of Z and rotations out of the plane. Angles are those in
    space, whatever the spacing.

    Args:
        rng: Random generator.
        how: Ranges of the changes.
        spacing_mm: Sample spacing along X, Y and Z, in mm.
    """
    millimetres = np.array([spacing_mm[2], *spacing_mm[:2]], np.float64)
    matrix = np.eye(3)
    matrix[1:, 1:] = draw_matrix(rng, how)
    matrix[0, 0] = np.exp(-rng.uniform(*np.log(how.zoom)) / 2)
    for axis in (1, 2):
        angle, turned = np.deg2rad(rng.uniform(-how.tilt_deg, how.tilt_deg)), np.eye(3)
        turned[np.ix_((0, axis), (0, axis))] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = (turned * millimetres / millimetres[:, None]) @ matrix
    return matrix


def cut_patch(
    image: Tensor, label: Tensor, centre: np.ndarray, size: Sequence[int], matrix: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Cut a rotated, scaled patch out of an image with a single interpolation.

    Args:
        image: Intensities ``(N, *S)`` with two or three spatial axes, int16 or float.
        label: Labels, uint8 ``(T, *S)``.
        centre: Source position of the centre of the patch in samples, one number per spatial axis.
        size: Size of the patch in samples.
        matrix: Matrix from patch offsets to source offsets.
    Returns:
        Intensities, float32 ``(N, *size)``, and labels, uint8 ``(T, *size)``. Outside the source, the border is
        repeated as the predictor does, because air would look like an airway, and the label is 255.
    """
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size]
    offsets = torch.meshgrid(*axes, indexing="ij")
    stacked = torch.stack(offsets, -1) @ torch.from_numpy(matrix.T.astype(np.float32))
    places = [axis + float(middle) for axis, middle in zip(stacked.unbind(-1), centre, strict=True)]
    # Only the part of the source that the patch touches is read and converted to float.
    low = [max(0, int(at.min()) - 1) for at in places]
    high = [min(n, int(at.max()) + 3) for at, n in zip(places, image.shape[1:], strict=True)]
    high = [max(h, lo + 1) for h, lo in zip(high, low, strict=True)]
    low = [min(lo, n - 1) for lo, n in zip(low, image.shape[1:], strict=True)]
    box = (slice(None), *(slice(lo, h) for lo, h in zip(low, high, strict=True)))
    part, marks = image[box].float(), label[box].float() - IGNORE
    where = torch.stack(
        [(2 * (at - lo) + 1) / n - 1 for at, lo, n in zip(places, low, part.shape[1:], strict=True)][::-1], -1
    )[None]
    cut = F.grid_sample(part[None], where, mode="bilinear", padding_mode="border", align_corners=False)[0]
    # The labels are shifted by -255, so that zero padding means "ignore".
    found = F.grid_sample(marks[None], where, mode="nearest", padding_mode="zeros", align_corners=False)[0]
    return cut, found.add_(IGNORE).to(torch.uint8)


def change_intensities(
    image: Tensor, label: Tensor, rng: np.random.Generator, how: Augmentation
) -> tuple[Tensor, Tensor]:
    """Return the stack and its labels with random resolution, noise, calibration and cut-out boxes.

    Args:
        image: Intensities in units of their usual range, float32 ``(S, C, X, Y)``.
        label: Labels, uint8 ``(T, X, Y)``; the label of cut-out boxes becomes 255.
        rng: Random generator.
        how: Ranges and probabilities.
    """
    for step in RESOLUTION_CHANGES:
        if rng.random() < how.prob:
            image = step(image, rng)
    if rng.random() < 0.6:
        image = add_noise(image, rng, how.noise_sd)
    if how.bias_field and rng.random() < how.prob:
        image = add_bias_field(image, rng, how.bias_field)
    image = torch.cat([calibrate(image[:, c : c + 1], rng, how) for c in range(image.shape[1])], 1)
    return cut_out(image, label, rng) if rng.random() < how.prob / 2 else (image, label)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Return the slices ``(..., X, Y)`` smoothed in-plane by a Gaussian of `sigma` samples; the border is repeated."""
    radius = max(1, round(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    stack = F.pad(image.reshape(-1, 1, *image.shape[-2:]), (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(stack, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1)).reshape(image.shape)


def soften_or_sharpen(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Simulate a soft or a sharp reconstruction kernel."""
    smooth = blur(image, rng.uniform(0.5, 1.3))
    return smooth if rng.random() < 0.6 else torch.lerp(smooth, image, 1 + rng.uniform(0.3, 1.5))


def lower_resolution(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Simulate a coarser image matrix: downsample in-plane by a factor of up to 3, and upsample again."""
    factor = rng.uniform(1.3, 3.0)
    small = [max(2, round(n / factor)) for n in image.shape[2:]]
    coarse = F.interpolate(image, size=small, mode="area")
    return F.interpolate(coarse, size=image.shape[2:], mode="bilinear", align_corners=False)


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


def add_bias_field(image: Tensor, rng: np.random.Generator, largest: float) -> Tensor:
    """Multiply the stack by a gain that varies smoothly, with a logarithm of up to `largest`."""
    coarse = torch.from_numpy(rng.uniform(-1, 1, (1, 1, 3, 3, 3)).astype(np.float32)) * float(largest * rng.random())
    size = (image.shape[0], *image.shape[2:])
    field = F.interpolate(coarse, size=size, mode="trilinear", align_corners=True)[0, 0]
    return image * field.exp()[:, None]


def calibrate(image: Tensor, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """Change contrast and level at random, and bend the intensity curve within the usual range with `how.prob`."""
    if rng.random() < how.prob:
        unit = image.clamp(0, 1)
        image = image + (unit ** float(np.exp(rng.uniform(*np.log(how.bend)))) - unit)
    scale = rng.uniform(*how.contrast) if rng.random() < how.prob else 1.0
    offset = rng.uniform(-how.offset, how.offset) if rng.random() < 0.5 else 0.0
    return image * float(scale) + float(offset)


def cut_out(image: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Fill one to three boxes with one random intensity each, and set their label to 255."""
    image, label = image.clone(), label.clone()
    for _ in range(rng.integers(1, 4)):
        size = [max(1, int(n * rng.uniform(0.05, 0.2))) for n in image.shape[2:]]
        x, y = (int(rng.integers(0, n - s + 1)) for n, s in zip(image.shape[2:], size, strict=True))
        image[..., x : x + size[0], y : y + size[1]] = float(rng.uniform(0, 1.15))
        label[:, x : x + size[0], y : y + size[1]] = IGNORE
    return image, label
