"""Simulate a gamma camera: attenuation by depth, resolution by distance, scatter and Poisson noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lib.data.scintigraphy.skeleton.canvas import SLAB_MM, SLABS, Canvas

FWHM_OF_SIGMA = 2.355
VIEWS = ("anterior", "posterior")


@dataclass(frozen=True)
class Camera:
    """A gamma camera with two detectors, each with a low-energy high-resolution collimator.

    Attributes:
        attenuation_per_mm: Attenuation of 140 keV in water, per mm.
        intrinsic_mm: Resolution (FWHM) of the crystal, in mm.
        collimator_mm: FWHM at the face of the collimator, in mm.
        collimator_slope: Increase of the FWHM per mm of distance.
        gap_mm: Distance between skin and collimator, in mm.
        scatter_fraction: Ratio of scattered to unscattered counts.
        scatter_mm: Spread of the scattered counts (SD), in mm.
        air: Background counts, as a share of the mean of the image.
    """

    attenuation_per_mm: float = 0.0154
    intrinsic_mm: float = 3.8
    collimator_mm: float = 1.8
    collimator_slope: float = 0.045
    gap_mm: float = 30.0
    scatter_fraction: float = 0.35
    scatter_mm: float = 45.0
    air: float = 0.01

    def sigma_mm(self, distance_mm: float) -> float:
        """Return the standard deviation in mm of the image of a point at a distance from the collimator."""
        fwhm = np.hypot(self.intrinsic_mm, self.collimator_mm + self.collimator_slope * distance_mm)
        return float(fwhm) / FWHM_OF_SIGMA

    def mean_rates(self, canvas: Canvas) -> NDArray[np.float32]:
        """Return mean rates ``(2, H, W)`` of the anterior and the posterior view, the latter as seen from the back."""
        primary = np.stack([self._primary(canvas, side) for side in (1, -1)])
        scattered = gaussian_filter(primary, (0, *[self.scatter_mm / canvas.pixel_mm] * 2), truncate=3)
        rate = primary + np.float32(self.scatter_fraction) * scattered
        rate += np.float32(self.air) * rate.mean((1, 2), keepdims=True)
        rate[1] = rate[1, :, ::-1]
        return rate

    def _primary(self, canvas: Canvas, side: int) -> NDArray[np.float32]:
        """Return the unscattered rate ``(H, W)`` on one side, summed over the slabs."""
        body = canvas.front > canvas.back
        skin = np.where(body, side * (canvas.front if side > 0 else canvas.back), 0)
        nearest = float(skin.max()) + self.gap_mm
        total = np.zeros(canvas.front.shape, np.float32)
        for slab in range(SLABS):
            depth_mm = side * (slab - (SLABS - 1) / 2) * SLAB_MM
            through = np.exp(-self.attenuation_per_mm * np.clip(skin - depth_mm, 0, None))
            sigma = self.sigma_mm(nearest - depth_mm) / canvas.pixel_mm
            total += gaussian_filter((canvas.activity[slab] * through).astype(np.float32), sigma, truncate=3)
        return total


def draw_camera(rng: np.random.Generator) -> Camera:
    """Return a camera with random distance, scatter and background."""
    return Camera(
        gap_mm=float(rng.uniform(15, 60)),
        scatter_fraction=float(rng.uniform(0.15, 0.45)),
        scatter_mm=float(rng.uniform(20, 50)),
        air=float(np.exp(rng.uniform(np.log(0.002), np.log(0.02)))),
    )


def draw_counts(rate: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int32]:
    """Return Poisson counts for mean counts of any shape."""
    return rng.poisson(rate).astype(np.int32)
