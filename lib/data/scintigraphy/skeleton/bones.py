"""Paint the soft tissue, bones, growth plates, kidneys and bladder of a figure, and list sites for lesions."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from lib.data.scintigraphy.skeleton.canvas import Canvas, Point
from lib.data.scintigraphy.skeleton.figure import Figure

BONE, FLESH = 1.0, 0.06
"""Uptake per volume of normal bone and of soft tissue."""
RIBS, VERTEBRAE = 11, 24
WORN_FRACTION = 0.4
"""Share of the joints of an adult that have increased uptake from wear."""
GRAIN_MM = (4.0, 12.0)
"""Correlation lengths of the random uptake within a bone, as the SD of a Gaussian."""


@dataclass
class Painter:
    """Painter of one figure on one canvas.

    Attributes:
        canvas: Canvas to paint on.
        figure: Size and posture of the person.
        rng: Random generator.
        sites: Possible sites of a lesion, ``(place, radius_mm)`` by region.
    """

    canvas: Canvas
    figure: Figure
    rng: np.random.Generator
    sites: dict[str, list[tuple[Point, float]]] = field(default_factory=dict)

    def bone(
        self, region: str, points: list[Point], radius_mm: float, uptake: float = 1.0, *, end: float = 1.0
    ) -> None:
        """Paint a bone along a line, with radius ``radius_mm * end`` at its end; its segments become sites."""
        radius = radius_mm * self.figure.trunk
        radii = [radius * float(share) for share in np.linspace(1, end, len(points))]
        self.canvas.rods(points, radii, BONE * uptake * self.jitter())
        for a, b in pairwise(points):
            self.sites.setdefault(region, []).append((_between(a, b, 0.5), radius))

    def plate(self, at: Point, radius_mm: float) -> None:
        """Paint a growth plate, if the figure is still growing."""
        if self.figure.growing:
            t = self.figure.trunk
            self.canvas.ball(at, (radius_mm * t, radius_mm * t, 7 * t), BONE * self.rng.uniform(2.0, 4.0))

    def joint(self, at: Point, radius_mm: float) -> None:
        """Paint the uptake of a worn joint at random, if the figure is an adult."""
        if not self.figure.growing and self.rng.random() < WORN_FRACTION:
            radius = radius_mm * self.figure.trunk * self.rng.uniform(0.4, 1.0)
            uptake = float(np.exp(self.rng.uniform(np.log(0.5), np.log(5.0))))
            self.canvas.ball(at, (radius, radius, radius * self.rng.uniform(0.5, 1.0)), BONE * uptake)

    def jitter(self) -> float:
        """Return a random factor of the uptake of one bone."""
        return float(np.exp(self.rng.normal(0, 0.08)))


def paint(canvas: Canvas, figure: Figure, rng: np.random.Generator) -> dict[str, list[tuple[Point, float]]]:
    """Paint everything except lesions, and return the possible sites of lesions by region."""
    painter = Painter(canvas, figure, rng)
    _trunk(painter)
    for side in (-1, 1):
        _leg(painter, side)
        _arm(painter, side)
    _head(painter)
    for grain_mm in GRAIN_MM:
        canvas.vary(grain_mm, float(rng.uniform(0.05, 0.35)), rng)
    canvas.fill(FLESH * float(rng.uniform(0.7, 2.2)))
    _organs(painter)
    return painter.sites


def _trunk(p: Painter) -> None:
    f, t, g = p.figure, p.figure.trunk, p.figure.girth
    hip, neck = f.hip_mm, f.spine(0.86)
    p.canvas.flesh((0, 0, hip), f.spine(0.45), 150 * t * g, end_radius_mm=135 * t * g, deep=0.72)
    p.canvas.flesh(
        f.spine(0.45), (neck[0], -10 * t, neck[2] - 60 * t), 140 * t * g, end_radius_mm=150 * t * g, deep=0.7
    )
    p.bone("spine", [f.spine(s) for s in np.linspace(0, 1, VERTEBRAE + 1)], 24, 0.65, end=0.5)
    tall = (f.spine(1.0)[2] - f.spine(0.0)[2]) / VERTEBRAE
    for share in (np.arange(VERTEBRAE) + 0.5) / VERTEBRAE:
        wide = 24 * t * (1 - 0.5 * share)
        p.canvas.ball(f.spine(share), (wide, 0.8 * wide, 0.42 * tall), BONE * float(p.rng.uniform(0.1, 0.6)))
        p.joint((f.spine(share)[0] + float(p.rng.normal(0, wide / 2)), *f.spine(share)[1:]), 14)
    for side in (-1, 1):
        for number in range(RIBS):
            _rib(p, side, number)
        shoulder = _shoulder(f, side)
        breast = (side * 14 * t, 55 * t, shoulder[2] - 5 * t)
        p.bone("clavicle", [breast, shoulder], 6)
        blade = [(side * x * t, -75 * t, shoulder[2] - z * t) for x, z in ((150, 15), (75, 40), (95, 150), (150, 15))]
        p.bone("scapula", blade, 6, 0.7)
        p.canvas.ball((side * 105 * t, -75 * t, shoulder[2] - 65 * t), (38 * t, 6 * t, 62 * t), BONE * 0.7)
        p.canvas.ball(shoulder, (17 * t, 17 * t, 17 * t), BONE * 1.2)
        p.joint(breast, 16)
        p.joint(shoulder, 22)
        wing = [
            (side * x * t, y * t, hip + z * t)
            for x, y, z in ((28, -70, 55), (70, -50, 118), (118, 5, 112), (128, 40, 72))
        ]
        p.bone("pelvis", wing, 10)
        ring = [
            (side * x * t, y * t, hip + z * t)
            for x, y, z in ((128, 40, 72), (88, 5, 5), (60, 5, -48), (35, 45, -40), (6, 60, -8))
        ]
        p.bone("pelvis", [*ring, (side * 84 * t, 5 * t, hip + 8 * t)], 10, 0.9)
    p.bone("pelvis", [(0, -75 * t, hip + 70 * t), (0, -88 * t, hip + 8 * t)], 34, 0.8, end=0.3)
    p.bone("sternum", [(0, 70 * t, f.spine(0.74)[2]), (0, 95 * t, f.spine(0.5)[2])], 12, 0.8)


def _rib(p: Painter, side: int, number: int) -> None:
    """Paint one rib from the spine around the side to the front, where it lies lower."""
    f, t = p.figure, p.figure.trunk
    start = f.spine(0.78 - 0.036 * number)
    wide = (75 + 65 * np.sqrt(np.sin(np.pi * (0.12 + 0.62 * number / RIBS)))) * t
    last = 2.75 if number < 7 else 2.75 - 0.32 * (number - 6)
    angles = np.linspace(0.15, last, 11)
    points = [
        (
            start[0] + side * float(wide * np.sin(a)),
            float(5 * t - 82 * t * np.cos(a)),
            start[2] - float((18 + 75 * (a / np.pi)) * t),
        )
        for a in angles
    ]
    p.bone("ribs", points, 6, 0.95)


def _shoulder(f: Figure, side: int) -> Point:
    return side * 172 * f.trunk + f.lean_mm / 3, -5 * f.trunk, f.spine(0.8)[2] + 8 * f.trunk


def _leg(p: Painter, side: int) -> None:
    f, t, g = p.figure, p.figure.trunk, p.figure.girth
    hip = (side * 90 * t, 0.0, f.hip_mm)
    spread = np.tan(np.deg2rad(f.leg_deg))
    knee = (side * (70 * t + spread * 0.48 * f.hip_mm), 10 * t, f.hip_mm * 0.52)
    ankle = (side * (60 * t + spread * 0.9 * f.hip_mm), -10 * t, f.hip_mm * 0.09)
    toe = (ankle[0] + side * 28 * t, 60 * t, 22 * t)
    p.canvas.flesh((hip[0], 0, hip[2]), knee, 85 * t * g, end_radius_mm=58 * t * g)
    p.canvas.flesh(knee, ankle, 58 * t * g, end_radius_mm=36 * t)
    p.canvas.flesh(ankle, toe, 38 * t, end_radius_mm=30 * t)
    neck = (hip[0] + side * 45 * t, -5 * t, hip[2] - 30 * t)
    p.canvas.ball(hip, (23 * t, 23 * t, 23 * t), BONE)
    p.bone("femur", [hip, neck], 15)
    shaft = [_between(neck, knee, s) for s in np.linspace(0, 1, 7)]
    p.bone("femur", shaft, 15, 0.75, end=1.2)
    p.canvas.ball(knee, (38 * t, 30 * t, 24 * t), BONE * 0.7)
    p.canvas.ball((knee[0], 45 * t, knee[2] + 12 * t), (20 * t, 10 * t, 20 * t), BONE * 0.8)
    p.bone("tibia", [_between(knee, ankle, s) for s in np.linspace(0.06, 1, 7)], 15, 0.7, end=0.75)
    fibula = [
        (_between(knee, ankle, s)[0] + side * 28 * t, -18 * t, _between(knee, ankle, s)[2]) for s in (0.1, 0.55, 1)
    ]
    p.bone("tibia", fibula, 6, 0.6)
    condyles = [(knee[0] + x * t, *knee[1:]) for x in (-20, 20)]
    for at, radius in ((hip, 24), *((condyle, 20) for condyle in condyles), (ankle, 20)):
        p.joint(at, radius)
    p.bone("foot", [ankle, (ankle[0], -25 * t, 25 * t)], 22, 0.7)
    p.bone("foot", [ankle, _between(ankle, toe, 0.5), toe], 17, 0.6, end=1.2)
    for at, radius in (
        (_between(knee, neck, 0.07), 36),
        (_between(knee, ankle, 0.07), 34),
        (_between(knee, ankle, 0.95), 22),
    ):
        p.plate(at, radius)
    p.plate((hip[0] + side * 8 * t, 0, hip[2] - 8 * t), 18)


def _arm(p: Painter, side: int) -> None:
    f, t, g = p.figure, p.figure.trunk, p.figure.girth
    shoulder, angle = _shoulder(f, side), np.deg2rad(f.arm_deg)
    out = side * 90 * t * (g - 0.9)
    elbow = (
        shoulder[0] + out + side * float(np.sin(angle)) * 300 * t,
        -30 * t,
        shoulder[2] - float(np.cos(angle)) * 300 * t,
    )
    wrist = (elbow[0] + side * float(np.sin(angle / 2)) * 245 * t, 0.0, elbow[2] - float(np.cos(angle / 2)) * 245 * t)
    hand = (wrist[0], 10 * t, wrist[2] - 120 * t)
    p.canvas.flesh(shoulder, elbow, 56 * t * g, end_radius_mm=42 * t * g)
    p.canvas.flesh(elbow, wrist, 42 * t * g, end_radius_mm=28 * t)
    p.canvas.flesh(wrist, hand, 34 * t, deep=0.5)
    p.bone("humerus", [_between(shoulder, elbow, s) for s in np.linspace(0, 1, 6)], 11, 0.75, end=0.95)
    for shift in (-9, 9):
        p.bone("forearm", [(q[0] + shift * t, q[1], q[2]) for q in (elbow, _between(elbow, wrist, 0.5), wrist)], 6, 0.7)
    p.canvas.ball(elbow, (20 * t, 16 * t, 16 * t), BONE * 0.6)
    p.joint(elbow, 16)
    p.joint(wrist, 16)
    p.bone("hand", [wrist, _between(wrist, hand, 0.35)], 20, 0.35)
    for finger in np.linspace(-24, 24, 5):
        p.bone("hand", [_between(wrist, hand, 0.35), (hand[0] + finger * t, hand[1], hand[2])], 5, 0.5)
    for at, radius in ((_between(shoulder, elbow, 0.07), 20), (_between(elbow, wrist, 0.95), 18)):
        p.plate(at, radius)


def _head(p: Painter) -> None:
    f, top = p.figure, p.figure.spine(1.0)
    tall = f.head_mm
    middle = (top[0] * 1.05, 0.0, f.height_mm - 0.42 * tall)
    radii = (0.33 * tall, 0.4 * tall, 0.42 * tall)
    p.canvas.flesh(f.spine(0.8), middle, 62 * f.trunk)
    p.canvas.bulk(middle, (radii[0] * 1.1, radii[1] * 1.08, radii[2] * 1.04))
    p.canvas.ball(middle, radii, BONE * 0.75 * p.jitter(), wall_mm=0.035 * tall)
    face = (middle[0], 0.28 * tall, f.height_mm - 0.66 * tall)
    p.canvas.ball(face, (0.2 * tall, 0.12 * tall, 0.17 * tall), BONE * 0.35)
    jaw = [(middle[0] + s * 0.24 * tall, 0.12 * tall, face[2] - 0.02 * tall) for s in (-1, 1)]
    p.bone("skull", [jaw[0], (middle[0], 0.38 * tall, face[2] - 0.22 * tall), jaw[1]], 9, 0.8)
    for at in (*jaw, face):
        p.joint(at, 16)
    around = [
        (middle[0] + radii[0] * 0.9 * np.cos(a), 0.0, middle[2] + radii[2] * 0.9 * np.sin(a))
        for a in np.linspace(0.2, 2.9, 6)
    ]
    p.sites.setdefault("skull", []).extend(((float(x), float(y), float(z)), 8.0) for x, y, z in around)


def _organs(p: Painter) -> None:
    """Paint the kidneys on both sides of the lower spine and the bladder above the hips, with random uptake."""
    f, t, rng = p.figure, p.figure.trunk, p.rng
    for side in (-1, 1):
        at = (side * 58 * t + rng.normal(0, 4), -70 * t, f.spine(0.3)[2] + (-8 if side < 0 else 8) * t)
        p.canvas.ball(at, (26 * t, 18 * t, 48 * t), BONE * float(rng.uniform(0.3, 1.2)))
    full = float(rng.uniform(0.5, 1.2))
    p.canvas.ball(
        (rng.normal(0, 5), 35 * t, f.hip_mm + 15 * t),
        (34 * t * full, 28 * t * full, 26 * t * full),
        BONE * float(rng.uniform(1.5, 7)),
    )


def _between(a: Point, b: Point, share: float) -> Point:
    x, y, z = (float(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return x, y, z
