"""Report an experiment: Dice of every arm by number of labels, paired differences between arms, and verdicts."""

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
from lib.evaluation.intervals import Interval, mean_interval, paired_difference
from lib.learning.experiment.plan import Plan

TEACHER = "teacher"
ARM_TITLES = {
    TEACHER: "teacher",
    "scratch": "scratch",
    "mae": "MAE, then labels",
    "moco": "MoCo v3, then labels",
    "agnostic": "task-agnostic distillation, then labels",
    "specific": "task-specific distillation, then labels",
    "synthetic": "task-specific distillation with synthetic images, then labels",
}
COMPARISONS = (
    ("specific", "agnostic"),
    ("agnostic", "scratch"),
    ("specific", "scratch"),
    ("specific", "mae"),
    ("specific", "moco"),
    ("synthetic", "specific"),
)
"""Pairs of arms to compare; according to the papers the first arm is better than the second."""
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
    """The result of one run.

    Args:
        arm: Name of the arm.
        labels: Number of labelled slices.
        seed: Seed of the run.
        dice: Mean over the test cases of the mean Dice over classes.
        seconds: Training time.
    """

    arm: str
    labels: int
    seed: int
    dice: float
    seconds: float


@dataclass(frozen=True)
class Difference:
    """Paired difference between two arms; the pairs are the runs of one seed.

    Args:
        labels: Number of labelled slices.
        arm: Arm that should be better.
        reference: Arm with which it is compared.
        gain: Dice of `arm` minus Dice of `reference`, with its 95 % interval.
    """

    labels: int
    arm: str
    reference: str
    gain: Interval

    @property
    def verdict(self) -> str:
        """What the interval supports: better, worse, or no difference shown."""
        if math.isnan(self.gain.low):
            return "too few seeds"
        return "better" if self.gain.low > 0 else "worse" if self.gain.high < 0 else "no difference shown"


def report(scores: Sequence[Score], plan: Plan, out: Path) -> dict[str, Any]:
    """Write ``table.md``, ``findings.json`` and ``curves.png`` to `out`; return the file names and the differences."""
    compared = differences(scores)
    findings = {
        "scores": [asdict(score) for score in scores],
        "differences": [_as_json(difference) for difference in compared],
    }
    for name, text in (("findings.json", json.dumps(findings, indent=1)), ("table.md", table(scores, compared, plan))):
        with replacing(out / name) as file:
            file.write_text(text)
    draw(scores, out / "curves.png")
    return {"table": str(out / "table.md"), "picture": str(out / "curves.png"), "differences": findings["differences"]}


def dice_by_seed(scores: Sequence[Score], arm: str, labels: int) -> dict[int, float]:
    """Return the Dice of an arm with `labels` labelled slices, by seed."""
    return {score.seed: score.dice for score in scores if (score.arm, score.labels) == (arm, labels)}


def differences(scores: Sequence[Score]) -> list[Difference]:
    """Return the differences of all `COMPARISONS` whose two arms ran, for every number of labels."""
    compared = []
    for labels in sorted({score.labels for score in scores}):
        for arm, reference in COMPARISONS:
            one, other = dice_by_seed(scores, arm, labels), dice_by_seed(scores, reference, labels)
            if seeds := sorted(one.keys() & other.keys()):
                gain = paired_difference([one[s] for s in seeds], [other[s] for s in seeds])
                compared.append(Difference(labels, arm, reference, gain))
    return compared


def table(scores: Sequence[Score], compared: Sequence[Difference], plan: Plan) -> str:
    """Return the table of scores and the table of differences as Markdown."""
    counts = sorted({score.labels for score in scores})
    lines = [
        f"| Dice with ... labelled slices | {' | '.join(map(str, counts))} | seconds |",
        f"|---|{'---:|' * (len(counts) + 1)}",
    ]
    for arm in (TEACHER, *plan.arms):
        seconds = [score.seconds for score in scores if score.arm == arm]
        if seconds:
            values = [list(dice_by_seed(scores, arm, n).values()) for n in counts]
            cells = [_format_interval(mean_interval(dices)) for dices in values]
            lines.append(f"| {ARM_TITLES[arm]} | {' | '.join(cells)} | {np.mean(seconds):.0f} |")
    lines += ["", f"| paired by seed | {' | '.join(map(str, counts))} |", f"|---|{'---:|' * len(counts)}"]
    for pair in COMPARISONS:
        row = [difference for difference in compared if (difference.arm, difference.reference) == pair]
        if row:
            cells = [f"{_format_interval(difference.gain, '+')} {difference.verdict}" for difference in row]
            lines.append(f"| {pair[0]} - {pair[1]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(scores: Sequence[Score], path: Path) -> None:
    """Draw Dice against the number of labels: means over seeds with bars of one standard error.

    Args:
        scores: Scores of all runs.
        path: PNG file to write.
    """
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    for arm in [name for name in COLOURS if any(score.arm == name for score in scores)]:
        counts = sorted({score.labels for score in scores if score.arm == arm})
        values = [np.array(list(dice_by_seed(scores, arm, n).values())) for n in counts]
        means = np.array([dices.mean() for dices in values])
        errors = np.array([dices.std(ddof=1) / len(dices) ** 0.5 if len(dices) > 1 else 0.0 for dices in values])
        style = "--" if arm == TEACHER else "-"
        axes.errorbar(counts, means, errors, color=COLOURS[arm], linestyle=style, marker="o", markersize=4, capsize=2,
                      label=ARM_TITLES[arm])  # fmt: skip
    axes.set_xscale("log", base=2)
    counts = sorted({score.labels for score in scores})
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.set_xlabel("labelled slices")
    axes.set_ylabel("Dice on the test cases")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    canvas.print_png(path)


def _as_json(difference: Difference) -> dict[str, Any]:
    interval = asdict(difference.gain)
    gain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in interval.items()}
    # The keys of earlier findings.json files.
    arms = {"ours": difference.arm, "theirs": difference.reference}
    return {"labels": difference.labels, **arms, "gain": gain, "verdict": difference.verdict}


def _format_interval(interval: Interval, sign: str = "") -> str:
    if math.isnan(interval.low):
        return f"{interval.mean:{sign}.3f}"
    return f"{interval.mean:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
