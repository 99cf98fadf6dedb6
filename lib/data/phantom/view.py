"""Draw the field of view and the voxel grid of a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIELDS_OF_VIEW: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float], float]] = {
    # Kind: ranges of the lower end and of the upper end (canonical z) and of the width, in mm; share of the cohort.
    "skull": ((-48, -12), (132, 142), (205, 260), 0.24),
    "head": ((-110, -58), (132, 142), (210, 270), 0.16),
    "face": ((-85, -28), (45, 85), (140, 240), 0.14),
    "head_neck": ((-225, -140), (45, 140), (220, 300), 0.18),
    "neck": ((-225, -150), (-40, 20), (190, 320), 0.12),
    "neck_chest": ((-300, -255), (-70, 10), (260, 400), 0.16),
}
# Slice thickness in mm and its share of the cohort.
_THICKNESS_MM = ((1.0, 0.2), (1.25, 0.12), (1.5, 0.22), (2.0, 0.14), (2.5, 0.1), (3.0, 0.14), (5.0, 0.08))


@dataclass(frozen=True)
class View:
    """The voxel grid of one scan.

    Attributes:
        kind: Key of `FIELDS_OF_VIEW`.
        origin_mm: RAS coordinates of the centre of voxel 0, in mm.
        spacing_mm: Voxel spacing, ``(3,)`` in mm.
        shape: Number of voxels along R, A and S.
        slice_mm: Slice thickness over which the density is averaged, in mm.
    """

    kind: str
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    slice_mm: float

    @property
    def affine(self) -> np.ndarray:
        """Return the matrix from voxel index to RAS mm, ``(4, 4)``."""
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix


def draw_view(
    rng: np.random.Generator,
    scale: np.ndarray,
    *,
    fov: str | None = None,
    pixel_mm: float | None = None,
    slice_mm: float | None = None,
) -> View:
    """Draw the field of view and the voxel grid of a scan.

    Args:
        rng: Random stream.
        scale: Scale of the patient per axis, ``(3,)``.
        fov: Field of view, a key of `FIELDS_OF_VIEW`; None draws one.
        pixel_mm: In-plane voxel size in mm; None draws one.
        slice_mm: Slice thickness in mm; None draws one.
    Raises:
        ValueError: If `fov` is not a key of `FIELDS_OF_VIEW`.
    """
    if fov is not None and fov not in FIELDS_OF_VIEW:
        raise ValueError(f"unknown field of view {fov!r}; known: {', '.join(FIELDS_OF_VIEW)}")
    shares = np.array([entry[3] for entry in FIELDS_OF_VIEW.values()])
    kind = str(rng.choice(list(FIELDS_OF_VIEW), p=shares / shares.sum()))
    kind = fov or kind
    low, high, width, _ = FIELDS_OF_VIEW[kind]
    bottom, top = rng.uniform(*low) * scale[2], rng.uniform(*high) * scale[2]
    wide = rng.uniform(*width) * (0.5 + 0.5 * float(scale[:2].mean()))
    wide = wide * rng.uniform(0.6, 0.85) if rng.random() < 0.08 else wide
    pixel_drawn = float(np.clip(wide / rng.integers(210, 300), 0.7, 1.3))
    thicknesses, weights = np.array(_THICKNESS_MM).T
    thickness_drawn = float(rng.choice(thicknesses, p=weights / weights.sum()))
    overlap = rng.uniform(0.5, 0.9) if rng.random() < 0.12 else 1.0
    pixel, thickness = pixel_mm or pixel_drawn, slice_mm or thickness_drawn
    step_z = max(thickness * overlap, (top - bottom) / 250)
    count = max(int((top - bottom) / step_z), 8)
    across = int(wide / pixel)
    centre = _centre(kind, rng) * scale
    tall = across if rng.random() < 0.6 else int(across * rng.uniform(0.8, 1.1))
    origin = (centre[0] - pixel * across / 2, centre[1] - pixel * tall / 2, bottom)
    return View(
        kind=kind,
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        spacing_mm=(pixel, pixel, step_z),
        shape=(across, tall, count),
        slice_mm=thickness,
    )


def _centre(kind: str, rng: np.random.Generator) -> np.ndarray:
    y = {"skull": 12, "head": 14, "face": 45, "head_neck": 5, "neck": 8, "neck_chest": -8}[kind]
    return np.array([rng.normal(0, 5), y + rng.normal(0, 7), 0.0])
