"""Draw the learning curves of rehearsals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.simulation.campaign import Point
from lib.simulation.curves import REFERENCE, CurvesByStrategy

BASELINES = {"random": "#9aa5b1", REFERENCE: "#3d4752"}
COLOURS = ("#0b62b5", "#c2410c", "#15803d", "#7c3aed", "#b91c1c", "#0e7490")
MARKS = "osD^vPX*"


def draw_curves(runs: CurvesByStrategy, path: Path) -> None:
    """Draw Dice and clDice against labels, and Dice against minutes: means over seeds, bands of one standard error.

    Args:
        runs: Points of the rehearsals by strategy and seed.
        path: PNG file to write.
    """
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots(1, 3)
    colours = iter(COLOURS * (1 + len(runs) // len(COLOURS)))
    for mark, name in zip(MARKS * (1 + len(runs) // len(MARKS)), runs, strict=False):
        colour = BASELINES.get(name) or next(colours)
        width = 2.2 if name in BASELINES else 1.4
        points = list(runs[name].values())
        for axis, (along, score) in zip(axes, _PANELS, strict=True):
            _curve(axis, points, along, score, label=name, colour=colour, mark=mark, width=width)
    for axis, (along, score) in zip(axes, _PANELS, strict=True):
        axis.set_xlabel(_AXIS_LABELS[along])
        axis.set_ylabel(_AXIS_LABELS[score])
        axis.grid(alpha=0.25)
    axes[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.print_png(path)


_PANELS = (("labels", "dice"), ("labels", "cl_dice"), ("minutes", "dice"))
_AXIS_LABELS = {
    "labels": "labels submitted",
    "minutes": "minutes of work (model of effort)",
    "dice": "Dice on the test cases",
    "cl_dice": "clDice on the test cases",
}


def _curve(
    axis: Axes,
    runs: Sequence[Sequence[Point]],
    along: str,
    score: str,
    *,
    label: str,
    colour: str,
    mark: str,
    width: float,
) -> None:
    x = np.array([[getattr(point, along) for point in points] for points in runs], float).mean(0)
    y = np.array([[getattr(point, score) for point in points] for points in runs], float)
    mean, error = y.mean(0), y.std(0, ddof=1) / np.sqrt(len(y)) if len(y) > 1 else np.zeros(y.shape[1])
    axis.plot(x, mean, marker=mark, markersize=4, color=colour, linewidth=width, label=label)
    axis.fill_between(x, mean - error, mean + error, color=colour, alpha=0.12, linewidth=0)
