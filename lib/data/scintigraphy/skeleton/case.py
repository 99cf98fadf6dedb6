"""Make one procedural bone scan from a seed, with the exact mean counts with and without its lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.phantom.anatomy.streams import Streams
from lib.data.scintigraphy.skeleton.bones import BONE, paint
from lib.data.scintigraphy.skeleton.camera import VIEWS, draw_camera, draw_counts
from lib.data.scintigraphy.skeleton.canvas import Canvas, Point
from lib.data.scintigraphy.skeleton.figure import Figure, draw_figure

COUNTS_PER_VIEW = (0.6e6, 4.0e6)
"""Range of the counts per view of a standard scan, log-uniform; the real sample scan has 3.6e6."""
FIELD_MM = (2080.0, 580.0)
MAX_LESIONS = 6


@dataclass(frozen=True)
class Lesion:
    """A lesion.

    Attributes:
        region: Name of the bone.
        place_mm: Centre of the lesion, in mm.
        radius_mm: Radius of the lesion, in mm.
        uptake: Added uptake, as a multiple of that of normal bone.
        pixels: Row and column of the centre in each view, not rounded.
    """

    region: str
    place_mm: Point
    radius_mm: float
    uptake: float
    pixels: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class ScanCase:
    """A procedural scan and its ground truth.

    Attributes:
        counts: Counts of one standard scan, int32 ``(2, H, W)``: anterior, and posterior as seen from the back.
        mean: Mean counts, float32 ``(2, H, W)``.
        healthy: Mean counts without the lesions, float32 ``(2, H, W)``.
        lesions: The lesions of the scan.
        pixel_mm: Pixel spacing, in mm.
        figure: Size and posture of the person.
        views: Names of the views.
        seed: Seed of the scan.
    """

    counts: NDArray[np.int32]
    mean: NDArray[np.float32]
    healthy: NDArray[np.float32]
    lesions: tuple[Lesion, ...]
    pixel_mm: float
    figure: Figure
    views: tuple[str, ...]
    seed: int

    def scan(self, fraction: float, rng: np.random.Generator, *, lesions: bool = True) -> NDArray[np.int32]:
        """Return an independent scan of the same person with a fraction of the recording time."""
        return draw_counts(fraction * (self.mean if lesions else self.healthy), rng)


def make_case(seed: int, *, pixel_mm: float = 2.26, child: bool | None = None, lesions: int | None = None) -> ScanCase:
    """Make a scan with a random person, random lesions and random counts.

    Args:
        seed: Seed; the same arguments give the same arrays.
        pixel_mm: Pixel spacing, in mm; a coarse spacing is fast, for tests.
        child: Whether the person is a child; None draws it at random.
        lesions: Number of lesions; None draws 0 to 6 at random.
    """
    streams = Streams(seed)
    figure = draw_figure(streams.of("figure"), child=child)
    shape = (round(FIELD_MM[0] / pixel_mm / 16) * 16, round(FIELD_MM[1] / pixel_mm / 16) * 16)
    canvas = Canvas.blank(shape, pixel_mm)
    sites = paint(canvas, figure, streams.of("bones"))
    camera = draw_camera(streams.of("camera"))
    healthy = camera.mean_rates(canvas)
    rng = streams.of("lesions")
    count = int(rng.integers(0, MAX_LESIONS + 1)) if lesions is None else lesions
    found = tuple(_add_lesion(canvas, sites, figure, rng) for _ in range(count))
    # The factor is that of the healthy scan: a lesion adds counts and does not change the rest of the scan.
    counts = float(np.exp(streams.of("counts").uniform(*np.log(COUNTS_PER_VIEW))))
    factor = counts / float(healthy.sum() / len(VIEWS))
    mean = (camera.mean_rates(canvas) if found else healthy) * np.float32(factor)
    return ScanCase(
        counts=draw_counts(mean, streams.of("noise")),
        mean=mean,
        healthy=healthy * np.float32(factor),
        lesions=found,
        pixel_mm=pixel_mm,
        figure=figure,
        views=VIEWS,
        seed=seed,
    )


def _add_lesion(
    canvas: Canvas, sites: dict[str, list[tuple[Point, float]]], figure: Figure, rng: np.random.Generator
) -> Lesion:
    """Paint a lesion at a random site; the region is drawn first, so that the many ribs do not get most lesions."""
    region = sorted(sites)[int(rng.integers(len(sites)))]
    (x, y, z), radius = sites[region][int(rng.integers(len(sites[region])))]
    dx, dy, dz = rng.normal(0, radius / 3, 3)
    place = (float(x + dx), float(y + dy), float(z + dz))
    size_mm = float(rng.uniform(4, 11)) * max(figure.trunk, 0.6)
    uptake = float(np.exp(rng.uniform(np.log(1.0), np.log(8.0))))
    canvas.ball(place, (size_mm, size_mm, size_mm), BONE * uptake)
    row, column = canvas.row(place[2]), canvas.column(place[0])
    pixels = ((row, column), (row, canvas.front.shape[1] - 1 - column))
    return Lesion(region, place, size_mm, uptake, pixels)
