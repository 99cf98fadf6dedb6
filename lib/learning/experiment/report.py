"""What an experiment shows: Dice of every arm against labels, paired differences, and what they support."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.data.files.atomic import replacing
from lib.evaluation.bootstrap import Interval, mean_interval, paired_difference
from lib.learning.experiment.plan import Plan

TEACHER = "teacher"
SEED = 11
WORDS = {
    TEACHER: "the teacher itself",
    "scratch": "scratch",
    "mae": "MAE, then labels",
    "moco": "MoCo v3, then labels",
    "agnostic": "task-agnostic distillation, then labels",
    "specific": "task-specific distillation, then labels",
    "synthetic": "the same with synthetic images",
}
AGAINST = (
    ("specific", "agnostic"),
    ("agnostic", "scratch"),
    ("specific", "scratch"),
    ("specific", "mae"),
    ("specific", "moco"),
    ("synthetic", "specific"),
)
"""Which arm is held against which; the papers say that the first is better."""
COLOURS = {
    TEACHER: "#9aa5b1",
    "scratch": "#3d4752",
    "mae": "#0b62b5",
    "moco": "#7c3aed",
    "agnostic": "#c2410c",
    "specific": "#15803d",
    "synthetic": "#0e7490",
}


@dataclass(frozen=True)
class Score:
    """A run.

    Args:
        arm: Its name.
        labels: Labelled slices.
        seed: Of the run.
        dice: Mean over the cases that judge, of the mean over their classes.
        seconds: Of teaching.
    """

    arm: str
    labels: int
    seed: int
    dice: float
    seconds: float


@dataclass(frozen=True)
class Difference:
    """One arm against another, paired by seed.

    Args:
        labels: Labelled slices.
        ours: The arm that is said to be better.
        theirs: The other.
        gain: In Dice.
    """

    labels: int
    ours: str
    theirs: str
    gain: Interval

    @property
    def verdict(self) -> str:
        """What the interval supports."""
        if math.isnan(self.gain.low):
            return "too few seeds"
        return "better" if self.gain.low > 0 else "worse" if self.gain.high < 0 else "no difference shown"


def report(scores: Sequence[Score], plan: Plan, out: Path) -> dict[str, Any]:
    """Write the table, the findings and the picture of runs; return the findings."""
    found = differences(scores)
    told = {"scores": [asdict(each) for each in scores], "differences": [_plain(each) for each in found]}
    for name, text in (("findings.json", json.dumps(told, indent=1)), ("table.md", table(scores, found, plan))):
        with replacing(out / name) as file:
            file.write_text(text)
    draw(scores, out / "curves.png")
    return {"table": str(out / "table.md"), "picture": str(out / "curves.png"), "differences": told["differences"]}


def of(scores: Sequence[Score], arm: str, labels: int) -> dict[int, float]:
    """Return the Dice of an arm with so many labels, by seed."""
    return {each.seed: each.dice for each in scores if (each.arm, each.labels) == (arm, labels)}


def differences(scores: Sequence[Score]) -> list[Difference]:
    """Return every pair of arms that ran, at every number of labels."""
    found = []
    for labels in sorted({each.labels for each in scores}):
        for ours, theirs in AGAINST:
            one, other = of(scores, ours, labels), of(scores, theirs, labels)
            if seeds := sorted(one.keys() & other.keys()):
                gain = paired_difference([one[s] for s in seeds], [other[s] for s in seeds], seed=SEED)
                found.append(Difference(labels, ours, theirs, gain))
    return found


def table(scores: Sequence[Score], found: Sequence[Difference], plan: Plan) -> str:
    """Return both tables as Markdown."""
    counts = sorted({each.labels for each in scores})
    lines = [
        f"| Dice with ... labelled slices | {' | '.join(map(str, counts))} | seconds |",
        f"|---|{'---:|' * (len(counts) + 1)}",
    ]
    for arm in (TEACHER, *plan.arms):
        known = [each for each in scores if each.arm == arm]
        if known:
            cells = [_said(mean_interval(list(of(scores, arm, n).values()), seed=SEED)) for n in counts]
            lines.append(f"| {WORDS[arm]} | {' | '.join(cells)} | {np.mean([each.seconds for each in known]):.0f} |")
    lines += ["", f"| paired by seed | {' | '.join(map(str, counts))} |", f"|---|{'---:|' * len(counts)}"]
    for pair in AGAINST:
        row = [each for each in found if (each.ours, each.theirs) == pair]
        if row:
            cells = [f"{_said(each.gain, '+')} {each.verdict}" for each in row]
            lines.append(f"| {pair[0]} - {pair[1]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(scores: Sequence[Score], path: Path) -> None:
    """Draw Dice against labels, means over seeds with one standard error.

    Args:
        scores: Of all runs.
        path: PNG to write.
    """
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    for arm in [each for each in COLOURS if any(score.arm == each for score in scores)]:
        counts = sorted({each.labels for each in scores if each.arm == arm})
        values = [np.array(list(of(scores, arm, n).values())) for n in counts]
        means = np.array([each.mean() for each in values])
        errors = np.array([each.std(ddof=1) / len(each) ** 0.5 if len(each) > 1 else 0.0 for each in values])
        style = "--" if arm == TEACHER else "-"
        axes.errorbar(counts, means, errors, color=COLOURS[arm], linestyle=style, marker="o", markersize=4, capsize=2,
                      label=WORDS[arm])  # fmt: skip
    axes.set_xscale("log", base=2)
    counts = sorted({each.labels for each in scores})
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.set_xlabel("labelled slices")
    axes.set_ylabel("Dice on the test cases")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    canvas.print_png(path)


def _plain(each: Difference) -> dict[str, Any]:
    gain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(each.gain).items()}
    return {"labels": each.labels, "ours": each.ours, "theirs": each.theirs, "gain": gain, "verdict": each.verdict}


def _said(interval: Interval, sign: str = "") -> str:
    if math.isnan(interval.low):
        return f"{interval.mean:{sign}.3f}"
    return f"{interval.mean:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
