"""Make one labelled phantom scan from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.phantom import clutter, physics, truth
from lib.data.phantom.anatomy import body, chest, nose, pockets, sinuses, skull, throat
from lib.data.phantom.anatomy.canvas import Canvas, Field, Grid, Point, make_grid
from lib.data.phantom.anatomy.streams import Streams
from lib.data.phantom.pose import Pose, draw_pose
from lib.data.phantom.scan import Sampler, bounds, tidy
from lib.data.phantom.view import View, draw_view

_TARGET_SAMPLES = 10e6


@dataclass(frozen=True)
class PhantomCase:
    """One scan with its truth. Array axes run to the patient's right, front and head (RAS+).

    Attributes:
        image: int16 HU, ``(X, Y, Z)``.
        label: uint8 part codes, 255 ignore, ``(X, Y, Z)``.
        affine: ``(4, 4)`` voxel to world, mm.
        topology: Components, loops, volumes and how the case was drawn.
        centreline: Polylines by name, points in voxel coordinates (i, j, k).
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    topology: dict[str, object]
    centreline: dict[str, list[list[float]]]


@dataclass(frozen=True)
class Patient:
    """A painted canonical patient."""

    canvas: Canvas
    skin: Field
    metal: list[Point]
    sinus_states: dict[str, str]


def build_patient(streams: Streams, grid: Grid) -> Patient:
    """Paint everything of one patient that the grid covers; air last, so that no tissue covers it."""
    canvas = Canvas.blank(grid)
    skin = body.surface(canvas, streams)
    body.fill(canvas, skin, streams)
    body.ears(canvas, skin, streams)
    chest.neck(canvas, streams)
    chest.upper_chest(canvas, streams)
    chest.spine(canvas, streams)
    skull.braincase(canvas, streams)
    skull.skull_base(canvas, streams)
    skull.face(canvas, streams)
    metal = skull.jaws(canvas, streams)
    throat.cartilages(canvas, streams)
    throat.tracheal_wall(canvas, streams)
    pockets.mastoids(canvas, streams)
    pockets.ear_canals(canvas, streams)
    nose.line(canvas, streams)
    states = sinuses.paint(canvas, streams)
    nose.carve(canvas, streams)
    pockets.mouth(canvas, streams)
    throat.carve(canvas, streams)
    pockets.bubbles(canvas, skin, streams)
    body.trim(canvas, skin)
    return Patient(canvas, skin, metal, states)


def make_case(
    seed: int,
    *,
    fov: str | None = None,
    pixel_mm: float | None = None,
    slice_mm: float | None = None,
    grid_mm: float | None = None,
) -> PhantomCase:
    """Make a scan whose anatomy, pose, surroundings and scanner all follow from the seed.

    Args:
        seed: Seed; the same arguments give the same arrays.
        fov: Field of view, a key of `FIELDS_OF_VIEW`, or drawn.
        pixel_mm: In-plane voxel size, or drawn.
        slice_mm: Slice thickness, or drawn.
        grid_mm: Spacing of the canonical grid; coarse is fast, for tests. Chosen from the volume if None.
    """
    streams = Streams(seed)
    pose = draw_pose(streams.of("pose"))
    view = draw_view(streams.of("view"), pose.scale, fov=fov, pixel_mm=pixel_mm, slice_mm=slice_mm)
    low, high = bounds(pose, view)
    volume = float(np.prod(np.subtract(high, low)))
    step = grid_mm or float(np.clip((volume / _TARGET_SAMPLES) ** (1 / 3), 0.75, 1.35))
    patient = build_patient(streams, make_grid((low[0], low[1], low[2]), (high[0], high[1], high[2]), step))
    sampled = Sampler(patient.canvas, pose, view).read(patient.canvas, patient.skin)
    added = clutter.add(sampled.hu, sampled.skin, _world_grid(view), streams)
    scanner = physics.draw_scanner(streams.of("scanner"))
    image = physics.acquire(
        sampled.hu,
        scanner=scanner,
        metal_ijk=_to_voxels(patient.metal, pose, view),
        pixel_mm=view.spacing_mm[0],
        rng=streams.of("acquisition"),
    )
    label = tidy(sampled.label)
    label[physics.unseen(scanner, label.shape)] = 0
    topology = truth.describe(label, view.spacing_mm) | {
        "seed": seed,
        "fov": view.kind,
        "spacing_mm": list(view.spacing_mm),
        "slice_mm": view.slice_mm,
        "sinuses": patient.sinus_states,
        "clutter": list(added),
        "noise_hu": round(scanner.noise_hu, 1),
        "shift_hu": round(scanner.shift_hu, 1),
        "stenosis": round(throat.draw_throat(streams).stenosis, 2),
    }
    return PhantomCase(image, label, view.affine, topology, truth.centreline(streams, pose, view))


def _world_grid(view: View) -> Grid:
    axes = [
        (o + s * np.arange(n)).astype(np.float32)
        for o, s, n in zip(view.origin_mm, view.spacing_mm, view.shape, strict=True)
    ]
    return Grid(axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :], view.spacing_mm[0])


def _to_voxels(points: list[Point], pose: Pose, view: View) -> NDArray[np.float64]:
    if not points:
        return np.zeros((0, 3))
    return (pose.to_world(np.array(points)) - view.origin_mm) / view.spacing_mm
