"""Generate one labelled phantom scan from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.data.phantom import clutter, physics, truth
from lib.data.phantom.anatomy import body, chest, nose, pockets, sinuses, skull, throat
from lib.data.phantom.anatomy.canvas import Canvas, Field, Grid, Point, make_grid
from lib.data.phantom.anatomy.streams import Streams
from lib.data.phantom.pose import Pose, draw_pose
from lib.data.phantom.scan import Sampler, merge_islands, visible_box
from lib.data.phantom.view import View, draw_view

_TARGET_SAMPLES = 10e6


@dataclass(frozen=True)
class PhantomCase:
    """One scan with its ground truth. The array axes run to the patient's right, front and head (RAS+).

    Attributes:
        image: CT in HU, int16, ``(X, Y, Z)``.
        label: Part codes, 255 ignored, uint8, ``(X, Y, Z)``.
        affine: Voxel index to RAS mm, ``(4, 4)``.
        topology: Betti numbers and volumes of the label, and the random parameters of the case.
        centreline: Polylines by name; points in voxel coordinates (i, j, k).
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    topology: dict[str, object]
    centreline: dict[str, list[list[float]]]


@dataclass(frozen=True)
class Patient:
    """A painted patient in the canonical frame.

    Attributes:
        canvas: Density, airway and parts.
        skin: Signed distance to the skin in mm, ``(X, Y, Z)``.
        metal: Places of metal fillings, canonical mm.
        sinus_states: State of each sinus, by name.
    """

    canvas: Canvas
    skin: Field
    metal: list[Point]
    sinus_states: dict[str, str]


def build_patient(streams: Streams, grid: Grid) -> Patient:
    """Paint the part of one patient that the grid covers. Air is painted last, so that tissue does not replace it."""
    canvas = Canvas.blank(grid)
    skin = body.skin_distance(canvas, streams)
    body.fill_tissue(canvas, skin, streams)
    body.paint_ears(canvas, skin, streams)
    chest.paint_neck(canvas, streams)
    chest.paint_upper_chest(canvas, streams)
    chest.paint_spine(canvas, streams)
    skull.paint_braincase(canvas, streams)
    skull.paint_skull_base(canvas, streams)
    skull.paint_face(canvas, streams)
    metal = skull.paint_jaws(canvas, streams)
    throat.paint_cartilages(canvas, streams)
    throat.paint_tracheal_wall(canvas, streams)
    pockets.paint_mastoids(canvas, streams)
    pockets.paint_ear_canals(canvas, streams)
    nose.paint_lining(canvas, streams)
    states = sinuses.paint_sinuses(canvas, streams)
    nose.carve(canvas, streams)
    pockets.paint_mouth(canvas, streams)
    throat.carve(canvas, streams)
    pockets.paint_bubbles(canvas, skin, streams)
    body.clip_to_skin(canvas, skin)
    return Patient(canvas, skin, metal, states)


def make_case(
    seed: int,
    *,
    fov: str | None = None,
    pixel_mm: float | None = None,
    slice_mm: float | None = None,
    grid_mm: float | None = None,
) -> PhantomCase:
    """Generate a scan; the seed determines anatomy, pose, clutter and scanner.

    Args:
        seed: Seed of the case; the same arguments give the same arrays.
        fov: Field of view, a key of `FIELDS_OF_VIEW`; None draws one.
        pixel_mm: In-plane voxel size in mm; None draws one.
        slice_mm: Slice thickness in mm; None draws one.
        grid_mm: Spacing of the canonical grid in mm; None chooses it from the volume. A coarse grid is fast.
    """
    streams = Streams(seed)
    pose = draw_pose(streams.of("pose"))
    view = draw_view(streams.of("view"), pose.scale, fov=fov, pixel_mm=pixel_mm, slice_mm=slice_mm)
    low, high = visible_box(pose, view)
    volume = float(np.prod(np.subtract(high, low)))
    step = grid_mm or float(np.clip((volume / _TARGET_SAMPLES) ** (1 / 3), 0.75, 1.35))
    patient = build_patient(streams, make_grid((low[0], low[1], low[2]), (high[0], high[1], high[2]), step))
    sampled = Sampler(patient.canvas, pose, view).read(patient.canvas, patient.skin)
    added = clutter.add_clutter(sampled.hu, sampled.skin, _world_grid(view), streams)
    scanner = physics.draw_scanner(streams.of("scanner"))
    image = physics.acquire(
        sampled.hu,
        scanner=scanner,
        metal_ijk=_to_voxels(patient.metal, pose, view),
        pixel_mm=view.spacing_mm[0],
        rng=streams.of("acquisition"),
    )
    label = merge_islands(sampled.label)
    label[physics.outside_circle(scanner, label.shape)] = 0
    topology = truth.describe_topology(label, view.spacing_mm) | {
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
