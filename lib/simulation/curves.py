"""What rehearsals show: accuracy against labels, clicks and minutes, and how many labels a strategy saves."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.evaluation.bootstrap import CONFIDENCE, RESAMPLES, Interval, mean_interval, paired_difference
from lib.simulation.campaign import Point

REFERENCE = "foreground_random"
"""The baseline that hardly any published strategy beats (nnActive, Lüth et al. 2025)."""
SEED = 7

Runs = Mapping[str, Mapping[int, Sequence[Point]]]
"""Points by strategy and seed."""


@dataclass(frozen=True)
class Finding:
    """What a strategy showed over its seeds.

    Args:
        strategy: Its name.
        final: Dice after the last round.
        area: Mean Dice along the curve, over labels.
        gain: That area against the reference's, paired by seed.
        cl_gain: The same of clDice.
        share: Labels at which its mean curve reaches the reference's last Dice, over all labels of the reference; inf
            where it does not reach it.
        share_low: Lower end of that share's interval.
        share_high: Upper end; inf where it is not always reached.
        minutes: Of work in all rounds, by the model of effort.
        seeds: How many.
    """

    strategy: str
    final: Interval
    area: Interval
    gain: Interval
    cl_gain: Interval
    share: float
    share_low: float
    share_high: float
    minutes: float
    seeds: int


def findings(runs: Runs, reference: str = REFERENCE) -> list[Finding]:
    """Return what each strategy showed, the best area first.

    Args:
        runs: Of all strategies, the reference among them.
        reference: What the others are held against.
    Raises:
        ValueError: If the reference did not run.
    """
    if reference not in runs:
        raise ValueError(f"nothing to compare with: '{reference}' did not run")
    found = [_finding(name, runs[name], runs[reference]) for name in runs]
    return sorted(found, key=lambda each: -each.area.mean)


def area(points: Sequence[Point], of: Callable[[Point], float]) -> float:
    """Return the mean of a score along the labels, by the trapezoidal rule; that of the only point, if there is one."""
    labels, values = np.array([point.labels for point in points]), np.array([of(point) for point in points])
    if len(points) == 1:
        return float(values[0])
    return float(np.average((values[1:] + values[:-1]) / 2, weights=np.diff(labels)))


def labels_until(curve: Sequence[tuple[float, float]], target: float) -> float:
    """Return the labels at which a curve first reaches a value, linear between its points; inf where it does not.

    Args:
        curve: ``(labels, value)``, labels rising.
        target: The value.
    """
    before: tuple[float, float] | None = None
    for labels, value in curve:
        if value >= target:
            if before is None or value == before[1]:
                return labels
            return before[0] + (labels - before[0]) * (target - before[1]) / (value - before[1])
        before = labels, value
    return math.inf


def _finding(name: str, ours: Mapping[int, Sequence[Point]], theirs: Mapping[int, Sequence[Point]]) -> Finding:
    seeds = sorted(set(ours) & set(theirs))
    areas = {of: [[area(side[s], of) for s in seeds] for side in (ours, theirs)] for of in (_dice, _cl_dice)}
    share, low, high = _share([ours[s] for s in seeds], [theirs[s] for s in seeds])
    return Finding(
        strategy=name,
        final=mean_interval([ours[s][-1].dice for s in seeds], seed=SEED),
        area=mean_interval(areas[_dice][0], seed=SEED),
        gain=paired_difference(*areas[_dice], seed=SEED),
        cl_gain=paired_difference(*areas[_cl_dice], seed=SEED),
        share=share,
        share_low=low,
        share_high=high,
        minutes=float(np.mean([ours[s][-1].minutes for s in seeds])) if seeds else math.nan,
        seeds=len(seeds),
    )


def _share(ours: Sequence[Sequence[Point]], theirs: Sequence[Sequence[Point]]) -> tuple[float, float, float]:
    """Return the share of labels on the mean curves, and its percentile interval over seeds drawn anew."""
    if not ours:
        return math.nan, math.nan, math.nan
    ours_labels, ours_dice = _curves(ours)
    theirs_labels, theirs_dice = _curves(theirs)

    def share(drawn: NDArray[np.integer]) -> float:
        target = float(theirs_dice[drawn, -1].mean())
        curve = list(zip(ours_labels[drawn].mean(0).tolist(), ours_dice[drawn].mean(0).tolist(), strict=True))
        return labels_until(curve, target) / float(theirs_labels[drawn, -1].mean())

    every = np.arange(len(ours))
    rng = np.random.default_rng(SEED)
    shares = np.sort([share(rng.integers(0, len(ours), len(ours))) for _ in range(RESAMPLES)])
    tail = (1 - CONFIDENCE) / 2
    ends = [float(shares[round(at * (RESAMPLES - 1))]) for at in (tail, 1 - tail)]
    return share(every), ends[0], ends[1]


def _curves(runs: Sequence[Sequence[Point]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return labels and Dice, ``(seeds, rounds)``."""
    return np.array([[p.labels for p in points] for points in runs], float), np.array(
        [[p.dice for p in points] for points in runs], float
    )


def _dice(point: Point) -> float:
    return point.dice


def _cl_dice(point: Point) -> float:
    return point.cl_dice


def table(found: Sequence[Finding], reference: str = REFERENCE) -> str:
    """Return findings as Markdown."""
    rows = [
        f"| strategy | Dice at the end | mean Dice along the curve | against {reference} | clDice against it "
        "| share of its labels for its last Dice | minutes of work | seeds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in found:
        cells = [_said(each.final), _said(each.area), _said(each.gain, "+"), _said(each.cl_gain, "+")]
        share = f"{_percent(each.share)} [{_percent(each.share_low)}, {_percent(each.share_high)}]"
        rows.append(f"| {each.strategy} | {' | '.join(cells)} | {share} | {each.minutes:.0f} | {each.seeds} |")
    return "\n".join(rows)


def as_json(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON can say them, None for what is not finite."""

    def safe(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: safe(each) for key, each in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return [safe(asdict(each)) for each in found]


def _said(interval: Interval, sign: str = "") -> str:
    return f"{interval.mean:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else "never"
