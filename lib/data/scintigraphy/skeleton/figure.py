"""Draw a person at random: age, size, proportions and posture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.data.scintigraphy.skeleton.canvas import Point

ADULT_YEARS = 17.0


@dataclass(frozen=True)
class Figure:
    """Size and posture of a person.

    Attributes:
        age_years: Age; below 17 years, growth plates have the highest uptake.
        height_mm: Height, in mm.
        girth: Width of the soft tissue, 1 for a slim person.
        arm_deg: Angle between arms and body, in degrees.
        leg_deg: Angle between legs and midline, in degrees.
        lean_mm: Distance of the head from the midline, in mm.
        bend: Sideways bend of the spine, in mm.
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
        return self.age_years < ADULT_YEARS

    @property
    def head_mm(self) -> float:
        """Height of the head in mm: a fifth of the height of a small child, an eighth of that of an adult."""
        return self.height_mm * float(np.interp(self.age_years, [1, 6, 17], [0.21, 0.17, 0.13]))

    @property
    def trunk(self) -> float:
        """Scale of the body between hips and chin, 1 for an adult of 1.75 m."""
        return (self.height_mm - self.head_mm) / 1520

    def spine(self, share: float) -> Point:
        """Return a position on the spine, for a share from 0 (sacrum) to 1 (skull)."""
        t, low, high = self.trunk, self.hip_mm + 20 * self.trunk, self.height_mm - self.head_mm * 0.9
        sideways = self.bend * np.sin(np.pi * share) + self.lean_mm * share**3
        depth = (-45 + 25 * np.sin(2 * np.pi * share - 0.4)) * t
        return float(sideways), float(depth), float(low + (high - low) * share)

    @property
    def hip_mm(self) -> float:
        """Height of the hip joints, in mm."""
        return 0.6 * (self.height_mm - self.head_mm)


def draw_figure(rng: np.random.Generator, *, child: bool | None = None) -> Figure:
    """Return a random person.

    Args:
        rng: Random generator.
        child: Whether the person is younger than 17 years; None draws it at random, with a probability of 0.75.
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
