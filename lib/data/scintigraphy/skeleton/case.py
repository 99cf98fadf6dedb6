"""Make one bone scan with its truth from a seed: the mean counts of both views, with its lesions and without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.phantom.anatomy.streams import Streams
from lib.data.scintigraphy.skeleton.bones import BONE, paint
from lib.data.scintigraphy.skeleton.camera import VIEWS, draw_camera, record
from lib.data.scintigraphy.skeleton.canvas import Canvas, Point
from lib.data.scintigraphy.skeleton.figure import Figure, draw_figure

COUNTS_PER_VIEW = (0.6e6, 4.0e6)
"""Of a standard whole-body scan, each view, drawn on a scale of ratios; the real one that comes along has 3.6e6."""
FIELD_MM = (2080.0, 580.0)
MOST_LESIONS = 6


@dataclass(frozen=True)
class Lesion:
    """A lesion: where it is, and how much it adds.

    Attributes:
        region: The bone.
        place_mm: Its middle.
        radius_mm: Of the ball.
        uptake: Times that of normal bone, on top of it.
        pixels: Row and column of its middle in each view, not rounded.
    """

    region: str
    place_mm: Point
    radius_mm: float
    uptake: float
    pixels: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class ScanCase:
    """A scan and its truth.

    Attributes:
        counts: int32 ``(2, H, W)``: one standard scan, anterior and posterior, the latter as seen from the back.
        mean: What it was drawn from, float32 of the same shape.
        healthy: The mean without the lesions; both differ in nothing else.
        lesions: In the order of the bones.
        pixel_mm: Spacing.
        figure: Whose it is.
        views: What each view is.
        seed: What it was made from.
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
        """Return another scan of the same person, independent of `counts`, of a fraction of its time."""
        return record(fraction * (self.mean if lesions else self.healthy), rng)


def make_case(seed: int, *, pixel_mm: float = 2.26, child: bool | None = None, lesions: int | None = None) -> ScanCase:
    """Make a scan whose person, lesions and counts all follow from the seed.

    Args:
        seed: Seed; the same arguments give the same arrays.
        pixel_mm: Spacing; coarse is fast, for tests.
        child: Whether the person still grows, or drawn.
        lesions: How many, or drawn: none to six.
    """
    streams = Streams(seed)
    figure = draw_figure(streams.of("figure"), child=child)
    shape = (round(FIELD_MM[0] / pixel_mm / 16) * 16, round(FIELD_MM[1] / pixel_mm / 16) * 16)
    canvas = Canvas.blank(shape, pixel_mm)
    sites = paint(canvas, figure, streams.of("bones"))
    camera = draw_camera(streams.of("camera"))
    healthy = camera.see(canvas)
    rng = streams.of("lesions")
    count = int(rng.integers(0, MOST_LESIONS + 1)) if lesions is None else lesions
    found = tuple(_add_lesion(canvas, sites, figure, rng) for _ in range(count))
    # The factor is the healthy scan's: a lesion adds counts and takes none from elsewhere.
    counts = float(np.exp(streams.of("counts").uniform(*np.log(COUNTS_PER_VIEW))))
    factor = counts / float(healthy.sum() / len(VIEWS))
    mean = (camera.see(canvas) if found else healthy) * np.float32(factor)
    return ScanCase(
        counts=record(mean, streams.of("noise")),
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
    """Paint a ball of uptake about a bone's middle; a region first, or most lesions would lie in the many ribs."""
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
