"""What a gamma camera records of a body: attenuation by depth, resolution by distance, scatter, and a Poisson draw."""

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
    """A detector on either side, with a collimator for low energies and high resolution.

    Attributes:
        attenuation_per_mm: Of 140 keV in water.
        intrinsic_mm: Resolution (FWHM) of the crystal.
        collimator_mm: FWHM at its face.
        collimator_slope: What the FWHM gains for each mm of distance.
        gap_mm: Between skin and collimator.
        scatter_fraction: Scattered counts for each that was not.
        scatter_mm: How wide they spread, SD.
        air: Counts beside the body, a share of its mean.
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
        """Return the standard deviation of what a point becomes at a distance from the collimator."""
        fwhm = np.hypot(self.intrinsic_mm, self.collimator_mm + self.collimator_slope * distance_mm)
        return float(fwhm) / FWHM_OF_SIGMA

    def see(self, canvas: Canvas) -> NDArray[np.float32]:
        """Return the mean rates ``(2, H, W)`` of the anterior view and of the posterior one, as seen from the back."""
        primary = np.stack([self._primary(canvas, side) for side in (1, -1)])
        scattered = gaussian_filter(primary, (0, *[self.scatter_mm / canvas.pixel_mm] * 2), truncate=3)
        rate = primary + np.float32(self.scatter_fraction) * scattered
        rate += np.float32(self.air) * rate.mean((1, 2), keepdims=True)
        rate[1] = rate[1, :, ::-1]
        return rate

    def _primary(self, canvas: Canvas, side: int) -> NDArray[np.float32]:
        """Return what comes through to one side, slab by slab."""
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
    """Return a camera: how near it comes, and how wide its energy window lets scatter and background in."""
    return Camera(
        gap_mm=float(rng.uniform(15, 60)),
        scatter_fraction=float(rng.uniform(0.15, 0.45)),
        scatter_mm=float(rng.uniform(20, 50)),
        air=float(np.exp(rng.uniform(np.log(0.002), np.log(0.02)))),
    )


def record(rate: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int32]:
    """Return counts drawn from mean counts."""
    return rng.poisson(rate).astype(np.int32)
