"""Draw one case: axial, coronal and sagittal slices with the predicted parts and the reference.

The orientation is radiological: the patient's right is on the left of axial and coronal slices; anterior is up in axial
slices and on the left of sagittal slices; superior is up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from lib.data.intensity import PERCENTILE, WINDOW, fit_scale
from lib.data.modality import CT
from lib.evaluation.metrics.crop import bounding_box
from lib.evaluation.metrics.overlap import dice
from lib.evaluation.metrics.volume import volume_ml
from lib.evaluation.report import IGNORE

Mask = npt.NDArray[np.bool_]
Label = npt.NDArray[np.integer]
Intensities = npt.NDArray[np.integer] | npt.NDArray[np.floating]
HU_WINDOW = (-1000.0, 500.0)
"""Hounsfield units shown as black and as the lightest grey."""
Extent = tuple[float, float, float, float]

# Distinct with the common kinds of colour blindness too (after Okabe & Ito), and light enough on black air.
COLOURS = ("#3FA9FF", "#FFB000", "#1FD79A", "#FF62B0", "#F7EE4A", "#B79CFF", "#FF7847", "#9BE15D")
PAPER, INK, FAINT = "#0E1116", "#FFFFFF", "#98A1B0"
OPACITY = 0.72
# Bone stays darker than white, the colour of the reference contour.
GREYS = LinearSegmentedColormap.from_list("dim", ["#000000", "#B4B8BF"])
COLUMNS, AXIAL_ROWS = 6, 2
WIDTH_INCHES, GAP_INCHES, HEAD_INCHES, FOOT_INCHES, DPI = 15.0, 0.06, 0.95, 0.75, 130
MARGIN_MM = 18.0
BAR_MM = 20.0


@dataclass(frozen=True)
class Plane:
    """An orientation of slices of a RAS volume.

    Args:
        name: Name shown on the picture.
        axis: Axis perpendicular to the slice.
        across: Axis shown horizontally.
        up: Axis shown vertically.
        sides: Letters of the left and the right side of the picture.
    """

    name: str
    axis: int
    across: int
    up: int
    sides: tuple[str, str]


AXIAL = Plane("axial", 2, 0, 1, ("R", "L"))
CORONAL = Plane("coronal", 1, 0, 2, ("R", "L"))
SAGITTAL = Plane("sagittal", 0, 1, 2, ("A", "P"))


@dataclass(frozen=True)
class Spot:
    """A place to mark with a ring.

    Args:
        place: Voxel index in the volume, not rounded.
        text: Short text beside the ring.
    """

    place: tuple[float, float, float]
    text: str


@dataclass(frozen=True)
class _Scene:
    image: Intensities
    prediction: Label
    reference: Label | None
    spacing_mm: Sequence[float]
    labels: Mapping[str, int]
    window: tuple[float, float]
    content: Mask
    view: tuple[slice, ...]
    spots: Sequence[Spot] = ()
    unit: str = " HU"

    def extent_mm(self, plane: Plane) -> Extent:
        width, height = (
            (self.view[axis].stop - self.view[axis].start) * self.spacing_mm[axis] for axis in (plane.across, plane.up)
        )
        return 0.0, width, 0.0, height

    def cut(self, volume: npt.NDArray, plane: Plane, index: int) -> npt.NDArray:
        where: list[slice | int] = list(self.view)
        where[plane.axis] = index
        # Both horizontal axes of RAS (right, anterior) grow towards the side that is shown on the left.
        return volume[tuple(where)].T[:, ::-1]

    def spots_mm(self, plane: Plane, index: int) -> list[tuple[float, float, str]]:
        """Return the spots of a slice as mm from its left, mm from its bottom, and text."""
        shown = [spot for spot in self.spots if round(spot.place[plane.axis]) == index]
        side, low = self.view[plane.across].stop, self.view[plane.up].start
        return [
            (
                (side - 0.5 - spot.place[plane.across]) * self.spacing_mm[plane.across],
                (spot.place[plane.up] - low + 0.5) * self.spacing_mm[plane.up],
                spot.text,
            )
            for spot in shown
        ]


def write_overlay(
    path: Path,
    image: Intensities,
    prediction: Label,
    reference: Label | None,
    spacing_mm: Sequence[float],
    *,
    labels: Mapping[str, int],
    title: str,
    modality: str = CT,
    spots: Sequence[Spot] = (),
) -> Path:
    """Write a PNG of the slices with labels: predicted parts in colour, the reference as a white contour.

    The view covers all labelled voxels of prediction and reference with a margin, so a stray voxel is visible.

    Args:
        path: File to write.
        image: Stored intensities, ``(X, Y, Z)`` RAS.
        prediction: Label values on the same grid.
        reference: Label values on the same grid, 255 where unknown (a dashed contour); None without a reference.
        spacing_mm: Voxel spacing per axis, in mm.
        labels: Value of each class, by name.
        title: Heading, such as the case and the model.
        modality: What the image is. A CT is shown by its Hounsfield units, another image by its percentiles.
        spots: Places to mark; their axial slices come first.
    Returns:
        `path`.
    Raises:
        ValueError: If the arrays are not volumes on one grid.
    """
    shapes = {image.shape, prediction.shape} | (set() if reference is None else {reference.shape})
    if len(shapes) != 1 or image.ndim != 3 or len(spacing_mm) != 3:
        raise ValueError(
            f"an overlay needs 3-D arrays on one grid and three spacings, got {sorted(shapes)} and {tuple(spacing_mm)}"
        )
    content = _content(prediction, reference, list(labels.values()))
    view = _view(content, spacing_mm)
    scale = fit_scale(image, WINDOW if modality == CT else PERCENTILE, HU_WINDOW)
    window, unit = (scale.low, scale.high), " HU" if modality == CT else ""
    scene = _Scene(image, prediction, reference, spacing_mm, labels, window, content, view, spots, unit)
    _draw(scene, title).savefig(path, facecolor=PAPER)
    return path


def _content(prediction: Label, reference: Label | None, values: list[int]) -> Mask:
    content = np.isin(prediction, values)
    return content if reference is None else content | np.isin(reference, values)


def _view(content: Mask, spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    box = bounding_box(content) if content.any() else tuple(slice(0, size) for size in content.shape)
    margins = [round(MARGIN_MM / step) for step in spacing_mm]
    return tuple(
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, margin, size in zip(box, margins, content.shape, strict=True)
    )


def _draw(scene: _Scene, title: str) -> Figure:
    rows = _rows(scene)
    panels = [_panel_inches(scene, plane) for plane, _ in rows]
    height = HEAD_INCHES + FOOT_INCHES + sum(tall + GAP_INCHES for _, tall in panels)
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    bottom = height - HEAD_INCHES
    for (plane, indices), (wide, tall) in zip(rows, panels, strict=True):
        bottom -= tall
        for column, index in enumerate(indices):
            left = GAP_INCHES + column * (wide + GAP_INCHES)
            place = (left / WIDTH_INCHES, bottom / height, wide / WIDTH_INCHES, tall / height)
            axes = figure.add_axes(place)
            _panel(axes, scene, plane, index)
            _marks(axes, plane, index, first=column == 0)
        bottom -= GAP_INCHES
    _head(figure, title, scene)
    _legend(figure, scene)
    return figure


def _rows(scene: _Scene) -> list[tuple[Plane, list[int]]]:
    marked = sorted({round(spot.place[AXIAL.axis]) for spot in scene.spots}, reverse=True)[: COLUMNS * AXIAL_ROWS]
    first = [index for index in marked if 0 <= index < scene.image.shape[AXIAL.axis]]
    downwards = _spread(scene.content, AXIAL.axis, COLUMNS * AXIAL_ROWS)[::-1]
    rows = [(AXIAL, part[at : at + COLUMNS]) for part in (first, downwards) for at in range(0, len(part), COLUMNS)]
    return rows + [(plane, _spread(scene.content, plane.axis, COLUMNS)) for plane in (CORONAL, SAGITTAL)]


def _spread(content: Mask, axis: int, count: int) -> list[int]:
    """Choose `count` slices along an axis so that each represents an equal share of the content.

    A slice has the square root of its voxel count as weight: a thin neck keeps its slices beside a wide cavity, but a
    stray voxel gets none.
    """
    others = tuple(other for other in range(content.ndim) if other != axis)
    weight = np.sqrt(np.count_nonzero(content, axis=others))
    if not weight.any():
        weight = np.ones(content.shape[axis])
    places = (np.arange(count) + 0.5) / count * weight.sum()
    return np.unique(np.searchsorted(np.cumsum(weight), places)).tolist()


def _panel_inches(scene: _Scene, plane: Plane) -> tuple[float, float]:
    wide = (WIDTH_INCHES - GAP_INCHES * (COLUMNS + 1)) / COLUMNS
    _, width_mm, _, height_mm = scene.extent_mm(plane)
    return wide, wide * height_mm / width_mm


def _panel(axes: Axes, scene: _Scene, plane: Plane, index: int) -> None:
    extent = scene.extent_mm(plane)
    low, high = scene.window
    picture = scene.cut(scene.image, plane, index)
    axes.imshow(picture, cmap=GREYS, vmin=low, vmax=high, origin="lower", extent=extent, interpolation="bilinear")
    prediction = scene.cut(scene.prediction, plane, index)
    for colour, value in zip(cycle(COLOURS), scene.labels.values(), strict=False):
        _fill(axes, prediction == value, colour, extent)
    if scene.reference is not None:
        truth = scene.cut(scene.reference, plane, index)
        for value in (*scene.labels.values(), IGNORE):
            _contour(axes, truth == value, extent, style="dashed" if value == IGNORE else "solid")
    for across, up, text in scene.spots_mm(plane, index):
        _ring(axes, across, up, text)
    axes.set(xlim=extent[:2], ylim=extent[2:])
    axes.set_axis_off()


def _fill(axes: Axes, mask: Mask, colour: str, extent: Extent) -> None:
    if mask.any():
        layer = np.zeros((*mask.shape, 4))
        layer[mask] = (*to_rgb(colour), OPACITY)
        axes.imshow(layer, origin="lower", extent=extent, interpolation="nearest")


def _contour(axes: Axes, mask: Mask, extent: Extent, *, style: str) -> None:
    if not mask.any():
        return
    # An empty rim closes contours that reach the edge of the view.
    rows, columns = mask.shape
    across = (np.arange(-1, columns + 1) + 0.5) * extent[1] / columns
    up = (np.arange(-1, rows + 1) + 0.5) * extent[3] / rows
    lines = axes.contour(across, up, np.pad(mask, 1), [0.5], colors=INK, linewidths=0.9, linestyles=style)
    lines.set_path_effects([withStroke(linewidth=1.7, foreground="#00000090")])


def _ring(axes: Axes, across: float, up: float, text: str) -> None:
    """Draw a ring around a place, with the text on the side that has room."""
    width = axes.get_images()[0].get_extent()[1]
    left = across > width / 2
    shadow = [withStroke(linewidth=2.6, foreground="black")]
    axes.plot([across], [up], "o", mfc="none", mec=INK, markersize=15, mew=1.6, path_effects=shadow)
    where = {"xytext": (-11 if left else 11, 0), "textcoords": "offset points", "ha": "right" if left else "left"}
    axes.annotate(text, (across, up), va="center", color=INK, fontsize=8, path_effects=shadow, **where)


def _marks(axes: Axes, plane: Plane, index: int, *, first: bool) -> None:
    shadow = [withStroke(linewidth=2.2, foreground="black")]
    places = [(0.03, 0.96, "left", f"slice {index}"), (0.03, 0.5, "left", plane.sides[0])]
    places.append((0.97, 0.5, "right", plane.sides[1]))
    if first:
        places.append((0.97, 0.96, "right", plane.name))
        axes.plot([5, 5 + BAR_MM], [5, 5], color=INK, linewidth=2, solid_capstyle="butt", path_effects=shadow)
        axes.text(5 + BAR_MM / 2, 8, f"{BAR_MM:.0f} mm", color=INK, fontsize=7, ha="center", path_effects=shadow)
    for x, y, side, text in places:
        style = {"ha": side, "va": "top" if y > 0.9 else "center", "fontsize": 8.5, "path_effects": shadow}
        weight = "bold" if text == plane.name else "normal"
        axes.text(x, y, text, transform=axes.transAxes, color=INK, fontweight=weight, **style)


def _head(figure: Figure, title: str, scene: _Scene) -> None:
    tall = figure.get_size_inches()[1]
    shape = " x ".join(str(size) for size in scene.image.shape)
    spacing = " x ".join(f"{step:.2f}" for step in scene.spacing_mm)
    low, high = scene.window
    line = f"{shape} voxels of {spacing} mm, window {low:.4g} to {high:.4g}{scene.unit}"
    figure.text(0.008, 1 - 0.34 / tall, title, color=INK, fontsize=18, fontweight="bold", va="center")
    figure.text(0.008, 1 - 0.70 / tall, line, color=FAINT, fontsize=10, va="center")


def _legend(figure: Figure, scene: _Scene) -> None:
    tall = figure.get_size_inches()[1]
    entries = [(colour, *_entry(scene, name)) for colour, name in zip(cycle(COLOURS), scene.labels, strict=False)]
    if scene.reference is not None:
        style = "dashed: unknown" if (scene.reference == IGNORE).any() else "white contour"
        entries.append((INK, "reference", style))
    step = 1 / max(len(entries), COLUMNS)
    for number, (colour, name, detail) in enumerate(entries):
        left = 0.008 + number * step
        # The reference is drawn as a contour in the slices, so its sign is an open square.
        sign = "\N{WHITE SQUARE}" if name == "reference" else "\N{BLACK SQUARE}"
        figure.text(left, 0.42 / tall, sign, color=colour, fontsize=20, va="center")
        figure.text(left + 0.019, 0.50 / tall, name, color=INK, fontsize=11, va="center", fontweight="bold")
        figure.text(left + 0.019, 0.27 / tall, detail, color=FAINT, fontsize=9.5, va="center")


def _has_parts(reference: Label, labels: Mapping[str, int]) -> bool:
    """Return whether the reference separates the parts; without them, the Dice of one part is not defined."""
    return len(labels) == 1 or len(set(np.unique(reference).tolist()) - {0, IGNORE}) > 1


def _entry(scene: _Scene, name: str) -> tuple[str, str]:
    value = scene.labels[name]
    found = scene.prediction == value
    detail = f"{volume_ml(found, scene.spacing_mm):.1f} ml"
    if scene.reference is not None and _has_parts(scene.reference, scene.labels):
        score = dice(found & (scene.reference != IGNORE), scene.reference == value)
        detail += ", Dice undefined" if np.isnan(score) else f", Dice {score:.3f}"
    return name.replace("_", " "), detail
