"""Draw whose body it is: age, size, proportions, posture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data.scintigraphy.skeleton.canvas import Point

GROWN_YEARS = 17.0


@dataclass(frozen=True)
class Figure:
    """A person.

    Attributes:
        age_years: Below 17 the ends of long bones grow, and take up more than anything else.
        height_mm: From the soles to the top of the head.
        girth: Of flesh, 1 for a slim person.
        arm_deg: How far the arms are spread.
        leg_deg: How far the legs are spread.
        lean_mm: How far the head lies from the middle.
        bend: How far the spine bends to a side, mm.
    """

    age_years: float
    height_mm: float
    girth: float
    arm_deg: float
    leg_deg: float
    lean_mm: float
    bend: float

    @property
    def growing(self) -> bool:
        """Whether growth plates are open."""
        return self.age_years < GROWN_YEARS

    @property
    def head_mm(self) -> float:
        """Height of the head: a quarter of a small child, an eighth of a grown person."""
        return self.height_mm * float(np.interp(self.age_years, [1, 6, 17], [0.21, 0.17, 0.13]))

    @property
    def trunk(self) -> float:
        """Scale of everything between hips and chin, 1 for a grown person of 1.75 m."""
        return (self.height_mm - self.head_mm) / 1520

    def spine(self, share: float) -> Point:
        """Return the middle of the spine, from the sacrum (0) to the skull (1)."""
        t, low, high = self.trunk, self.hip_mm + 20 * self.trunk, self.height_mm - self.head_mm * 0.9
        sideways = self.bend * np.sin(np.pi * share) + self.lean_mm * share**3
        depth = (-45 + 25 * np.sin(2 * np.pi * share - 0.4)) * t
        return float(sideways), float(depth), float(low + (high - low) * share)

    @property
    def hip_mm(self) -> float:
        """Height of the hip joints."""
        return 0.6 * (self.height_mm - self.head_mm)


def draw_figure(rng: np.random.Generator, *, child: bool | None = None) -> Figure:
    """Return a person.

    Args:
        rng: The random numbers.
        child: Whether it is younger than 17; or drawn, three of four being children.
    """
    young = rng.random() < 0.75 if child is None else child
    age = float(rng.uniform(2, 16)) if young else float(rng.uniform(18, 80))
    height = float(np.interp(age, [1, 6, 12, 17], [760, 1160, 1500, 1730]) * rng.normal(1, 0.05))
    return Figure(
        age_years=age,
        height_mm=float(np.clip(height, 700, 1950)),
        girth=float(rng.uniform(0.9, 1.35)),
        arm_deg=float(rng.uniform(2, 9)),
        leg_deg=float(rng.uniform(1, 8)),
        lean_mm=float(rng.normal(0, 8)),
        bend=float(rng.normal(0, 6)),
    )
