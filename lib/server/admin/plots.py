"""Draw the plots of the Versions page as SVG: accuracy by labels, accuracy by version, and changes in proposals.

The outcome of a version is shown by the shape of its marker, not by colour alone. Drawn plots are cached.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from math import floor, isfinite
from typing import TYPE_CHECKING, Any

from lib.evaluation.intervals import Interval
from lib.jobs.gate import DICE, METRICS, PSNR
from lib.server.admin.state.history import Point, Week

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, HEIGHT_INCHES = 4.4, 3.1
MAX_CACHED = 64


@dataclass(frozen=True)
class Theme:
    """Colours of a plot, equal to those in ``admin.css``."""

    ink: str
    faint: str
    line: str
    first: str
    second: str


THEMES = {
    "dark": Theme("#c3ccd6", "#93a0ae", "#2a333d", "#6cb6ff", "#f0b35a"),
    "light": Theme("#1f2730", "#55606c", "#d3dae1", "#0b62b5", "#9a5b00"),
}
# matplotlib's settings are global to the process.
_drawing = threading.Lock()
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "topolabel",
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9.5,
}


@lru_cache(maxsize=MAX_CACHED)
def efficiency(points: Sequence[Point], theme: Theme) -> str:
    """Return a plot of the held-out score by the number of training labels."""

    def draw(axes: Axes) -> None:
        places = [float(point.labels) for point in points]
        _series(axes, places, points, [point.score for point in points], theme.first, f"mean {_metric(points)}")
        axes.set_xlabel("training labels")
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _score_axis(axes, _metric(points))

    return _svg(draw, theme)


@lru_cache(maxsize=MAX_CACHED)
def drift(points: Sequence[Point], theme: Theme) -> str:
    """Return a plot of the held-out scores by version: Dice and clDice, or the metric of restored images."""

    def draw(axes: Axes) -> None:
        places = [float(number) for number in range(1, len(points) + 1)]
        _series(axes, places, points, [point.score for point in points], theme.first, f"mean {_metric(points)}")
        if _metric(points) == METRICS[DICE]:
            dashed = [point.cl_dice for point in points]
            _series(axes, places, points, dashed, theme.second, "clDice", dashes="--", shift=0.08)
        days = [f"{point.created:%m-%d}" if point.created else "?" for point in points]
        step = max(1, len(points) // 8)
        axes.set_xticks(places[::step], days[::step])
        axes.set_xlabel("versions in order, with the day of training")
        _score_axis(axes, _metric(points))
        _legend(axes, theme)

    return _svg(draw, theme)


@lru_cache(maxsize=MAX_CACHED)
def proposals(weeks: Sequence[Week], theme: Theme) -> str:
    """Return a plot by week: the median volume changed in proposals and the share accepted unchanged."""

    def draw(axes: Axes) -> None:
        places = list(range(len(weeks)))
        step = max(1, len(weeks) // 8)
        edits = [week.work.median_edit_ml or 0.0 for week in weeks]
        axes.bar(places, edits, 0.55, color=theme.first, label="median change, ml")
        axes.set_xticks(places[::step], [f"{week.begins:%m-%d}" for week in weeks][::step])
        axes.set_xlabel("first day of the week")
        axes.set_ylabel("ml")
        axes.set_xlim(-0.7, max(len(weeks), 4) - 0.3)
        share = axes.twinx()
        shares = [100 * (week.work.unchanged or 0.0) for week in weeks]
        share.plot(places, shares, "D--", color=theme.second, label="accepted unchanged, %", markersize=6)
        share.set_ylim(-4, 104)
        share.set_ylabel("%")
        _style(share, theme)
        _legend(axes, theme, share)

    return _svg(draw, theme)


def _series(
    axes: Axes,
    places: Sequence[float],
    points: Sequence[Point],
    scores: Sequence[Interval],
    colour: str,
    name: str,
    *,
    dashes: str = "-",
    shift: float = 0.0,
) -> None:
    """Draw scores with intervals; a filled marker is a published version, a hollow marker any other."""
    known = [(x + shift, p, s) for x, p, s in zip(places, points, scores, strict=True) if isfinite(s.mean)]
    published = [(x, score.mean) for x, point, score in known if point.published]
    axes.plot([x for x, _ in published], [y for _, y in published], dashes, color=colour, linewidth=1.8)
    for x, point, score in known:
        if isfinite(score.low):
            axes.plot([x, x], [score.low, score.high], color=colour, linewidth=1.4, alpha=0.75)
        mark = "o" if point.published else {"hold": "s", "reject": "x"}.get(point.verdict, "D")
        fill = colour if point.published else "none"
        axes.plot(x, score.mean, mark, color=colour, markerfacecolor=fill, markersize=6, markeredgewidth=1.6, zorder=3)
    axes.plot([], [], f"o{dashes}", color=colour, label=name)


def _metric(points: Sequence[Point]) -> str:
    return points[-1].metric if points else METRICS[DICE]


def _score_axis(axes: Axes, metric: str) -> None:
    """Label the axis of held-out scores; `metric` is the displayed name. Scores in [0, 1] share the upper end 1."""
    if metric == METRICS[PSNR]:
        axes.set_ylabel("held-out PSNR, dB")
    else:
        lowest = floor(10 * axes.get_ylim()[0]) / 10
        axes.set_ylim(min(0.5, max(0.0, lowest)) - 0.02, 1.03)
        axes.set_ylabel("held-out score")
    axes.margins(x=0.08)


def _legend(axes: Axes, theme: Theme, *more: Axes) -> None:
    handles = [handle for part in (axes, *more) for handle in part.get_legend_handles_labels()[0]]
    axes.legend(
        handles=handles,
        labelcolor=theme.ink,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderpad=0.0,
        ncols=2,
        columnspacing=1.2,
        handlelength=1.5,
        fontsize=9.0,
    )


def _style(axes: Axes, theme: Theme) -> None:
    axes.patch.set_alpha(0)
    axes.tick_params(colors=theme.faint, length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.faint)
    for side in axes.spines.values():
        side.set_visible(False)


def _svg(draw: Callable[[Axes], None], theme: Theme) -> str:
    # Imported at the first plot: a server does not need it to start.
    import matplotlib
    from matplotlib.figure import Figure

    with _drawing, matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.grid(axis="y", color=theme.line, linewidth=0.8)
        axes.set_axisbelow(True)
        draw(axes)
        _style(axes, theme)
        out = StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
