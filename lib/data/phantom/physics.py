"""Degrade a clean density volume like a scanner: blur, streaks, dark bands, noise, calibration and field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lib.data.phantom.anatomy.canvas import Field

FLOOR_HU = -1024


@dataclass(frozen=True)
class Scanner:
    """Degradation of one scan.

    Attributes:
        blur_px: Standard deviation of the blur kernel, in pixels.
        sharpen: Strength of the edge enhancement, 0 for a soft kernel.
        noise_hu: Standard deviation of the noise at mean attenuation, in HU.
        grain_px: Correlation length of the noise, in pixels.
        shift_hu: Calibration shift, in HU.
        gain: Scale of the density relative to air.
        streak: Strength of metal and shoulder streaks.
        motion_px: Sideways offset of the motion ghost in pixels, 0 for no motion.
        circle: Radius of the reconstructed circle divided by half the width, 0 for the whole square.
        padding_hu: Value outside the circle, in HU.
    """

    blur_px: float
    sharpen: float
    noise_hu: float
    grain_px: float
    shift_hu: float
    gain: float
    streak: float
    motion_px: float
    circle: float
    padding_hu: int


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Draw a scanner of good to poor quality."""
    uncalibrated = rng.random() < 0.3
    return Scanner(
        blur_px=rng.uniform(0.0, 0.55) if rng.random() < 0.75 else rng.uniform(0.55, 1.0),
        sharpen=rng.uniform(0.2, 1.2) if rng.random() < 0.3 else 0.0,
        noise_hu=float(np.exp(rng.uniform(np.log(4), np.log(120)))) if rng.random() < 0.7 else rng.uniform(4, 15),
        grain_px=rng.uniform(0.3, 1.3),
        shift_hu=rng.uniform(-160, 160) if uncalibrated else rng.normal(0, 20),
        gain=rng.uniform(0.88, 1.12) if uncalibrated else rng.uniform(0.98, 1.02),
        streak=rng.uniform(0.2, 1.6),
        motion_px=rng.uniform(0.5, 2.0) if rng.random() < 0.06 else 0.0,
        circle=rng.uniform(0.92, 1.06) if rng.random() < 0.2 else 0.0,
        padding_hu=int(rng.choice([-1024, -1024, -2000, -3024])),
    )


def acquire(
    hu: Field,
    *,
    scanner: Scanner,
    metal_ijk: NDArray[np.float64],
    pixel_mm: float,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Return the degraded scan in HU, ``(X, Y, Z)``.

    Args:
        hu: Image without artefacts in HU, ``(X, Y, Z)``; may be changed in place.
        scanner: Blur, noise, calibration and artefacts of this scan.
        metal_ijk: Voxel coordinates of the metal objects, ``(n, 3)``.
        pixel_mm: In-plane pixel size, in mm.
        rng: Random stream.
    """
    if scanner.motion_px:
        share = rng.uniform(0.2, 0.45)
        hu[...] = (1 - share) * hu + share * np.roll(hu, round(scanner.motion_px), axis=int(rng.integers(0, 2)))
    if scanner.blur_px > 0.2:
        hu = ndimage.gaussian_filter(hu, (scanner.blur_px, scanner.blur_px, 0), truncate=3)
    if scanner.sharpen:
        hu = hu + scanner.sharpen * (hu - ndimage.gaussian_filter(hu, (1.0, 1.0, 0), truncate=3))
    _add_metal_streaks(hu, metal_ijk, scanner.streak, pixel_mm, rng)
    attenuation_mm = _attenuation_mm(hu, pixel_mm)
    _add_dark_bands(hu, rng)
    _add_noise(hu, scanner, attenuation_mm, rng)
    hu = (hu + 1000) * scanner.gain - 1000 + scanner.shift_hu
    out = np.clip(np.rint(hu), FLOOR_HU, 3071).astype(np.int16)
    out[outside_circle(scanner, hu.shape)] = scanner.padding_hu
    return out


def _attenuation_mm(hu: Field, pixel_mm: float) -> NDArray[np.float32]:
    """Return the largest water-equivalent path of each slice in mm, for rays along x and along y, ``(2, Z)``."""
    mass = np.clip(hu[::2, ::2] / 1000 + 1, 0, 2.5)
    along_x = mass.sum(axis=0).max(axis=0) * 2 * pixel_mm
    along_y = mass.sum(axis=1).max(axis=0) * 2 * pixel_mm
    return np.stack([along_x, along_y]).astype(np.float32)


def _add_noise(hu: Field, scanner: Scanner, attenuation_mm: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Add correlated noise that grows with the attenuation, and streaks along x through the shoulders."""
    grain = rng.standard_normal(hu.shape, dtype=np.float32)
    grain = ndimage.gaussian_filter(grain, (scanner.grain_px, scanner.grain_px, 0.25), truncate=2.5)
    grain /= max(float(grain[::3, ::3].std()), 1e-6)
    level = scanner.noise_hu * np.clip(np.exp((attenuation_mm.mean(0) - 190) / 170), 0.45, 2.2)
    hu += grain * level
    excess = np.clip(attenuation_mm[0] / np.maximum(attenuation_mm[1], 1) - 1.25, 0, 1.2)
    if excess.max() > 0.05:
        lines = rng.standard_normal((max(hu.shape[0] // 12, 2), *hu.shape[1:]), dtype=np.float32)
        lines = ndimage.gaussian_filter1d(lines, 0.6, axis=1)
        lines = np.repeat(lines, -(-hu.shape[0] // lines.shape[0]), axis=0)[: hu.shape[0]]
        lines = ndimage.uniform_filter1d(lines, 15, axis=0)
        hu += lines * (excess * level * scanner.streak * 1.6)


def _add_dark_bands(hu: Field, rng: np.random.Generator) -> None:
    """Darken the tissue between dense bones, as beam hardening does, and add a slow shading."""
    coarse = hu[::4, ::4, ::2]
    bone = np.clip(coarse - 400, 0, 1200)
    band = ndimage.gaussian_filter(bone, (14, 2.5, 1))
    band *= rng.uniform(0, 0.09)
    shade = rng.normal(0, 6) * np.linspace(-1, 1, coarse.shape[0])[:, None, None]
    zoomed = np.repeat(np.repeat(np.repeat(band - shade, 4, 0), 4, 1), 2, 2)[
        : hu.shape[0], : hu.shape[1], : hu.shape[2]
    ]
    body = np.clip((hu + 700) / 500, 0, 1)
    hu -= ndimage.uniform_filter(zoomed.astype(np.float32), 5, axes=(0, 1)) * body


def _add_metal_streaks(
    hu: Field, metal_ijk: NDArray[np.float64], strength: float, pixel_mm: float, rng: np.random.Generator
) -> None:
    """Add bright and dark rays around metal, in place; they fade with the distance from the metal.

    Args:
        hu: Volume in HU, ``(X, Y, Z)``.
        metal_ijk: Voxel coordinates, one row per metal object.
        strength: Factor of the rays: ``strength * 900 / (4 + distance in mm)`` HU times a smoothed random number.
        pixel_mm: Pixel size in mm.
        rng: Source of randomness.
    """
    x = np.arange(hu.shape[0], dtype=np.float32)[:, None]
    y = np.arange(hu.shape[1], dtype=np.float32)[None, :]
    for i, j, k in metal_ijk:
        if not 0 <= k < hu.shape[2]:
            continue
        angle, away = np.arctan2(y - j, x - i), np.hypot(x - i, y - j) * pixel_mm
        rays = ndimage.gaussian_filter1d(rng.normal(0, 1, 180), 1.2, mode="wrap")
        rays = np.interp(angle, np.linspace(-np.pi, np.pi, 181), np.append(rays, rays[0]))
        ray = (rays * strength * 900 / (4 + away)).astype(np.float32)
        for dk in (-1, 0, 1):
            if 0 <= round(k) + dk < hu.shape[2]:
                hu[..., round(k) + dk] += ray * (1.0 if dk == 0 else 0.5)


def outside_circle(scanner: Scanner, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask ``(X, Y)`` of the pixels outside the reconstructed circle of a scanner."""
    if not scanner.circle:
        return np.zeros(shape[:2], bool)
    x = np.linspace(-1, 1, shape[0])[:, None]
    y = np.linspace(-1, 1, shape[1])[None, :] * shape[1] / shape[0]
    return x**2 + y**2 > scanner.circle**2
