"""Summarise rehearsals: learning curves, their areas, and the labels that a strategy saves against a reference."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.evaluation.intervals import CONFIDENCE, Interval, mean_interval, paired_difference
from lib.simulation.campaign import Point

REFERENCE = "foreground_random"
"""The baseline that few published strategies surpass (nnActive, Lüth et al. 2025)."""
BOOTSTRAP_SEED, RESAMPLES = 7, 2000

CurvesByStrategy = Mapping[str, Mapping[int, Sequence[Point]]]
"""Points of the rehearsals by strategy and seed."""


@dataclass(frozen=True)
class Finding:
    """Result of a strategy over its seeds.

    Args:
        strategy: Name of the strategy.
        final: Dice after the last round.
        area: Mean Dice along the curve, over labels.
        gain: Difference between the area and the area of the reference, paired by seed.
        cl_gain: Difference between the areas of clDice, paired by seed.
        share: Labels at which the mean curve reaches the last Dice of the reference, divided by all labels of the
            reference; inf if the curve does not reach it.
        share_low: Lower end of the range of `share` over resampled seeds (percentile bootstrap, 95 %). With few seeds
            it is too narrow for an interval; see `lib.evaluation.intervals`.
        share_high: Upper end of the range; inf if some resampled curves do not reach the Dice.
        minutes: Working time of all rounds, in minutes, by the model of effort.
        seeds: Number of seeds.
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


def findings(runs: CurvesByStrategy, reference: str = REFERENCE) -> list[Finding]:
    """Return the results of all strategies, sorted by area, the largest first.

    Args:
        runs: Points of all strategies, including the reference.
        reference: Strategy with which the others are compared.
    Raises:
        ValueError: If the reference has no run.
    """
    if reference not in runs:
        raise ValueError(f"the reference strategy '{reference}' did not run: add it to the strategies")
    results = [_finding(name, runs[name], runs[reference]) for name in runs]
    return sorted(results, key=lambda finding: -finding.area.mean)


def area(points: Sequence[Point], score: Callable[[Point], float]) -> float:
    """Return the mean of a score over the labels by the trapezoidal rule; with one point, its score."""
    labels, values = np.array([point.labels for point in points]), np.array([score(point) for point in points])
    if len(points) == 1:
        return float(values[0])
    return float(np.average((values[1:] + values[:-1]) / 2, weights=np.diff(labels)))


def labels_until(curve: Sequence[tuple[float, float]], target: float) -> float:
    """Return the labels at which a curve first reaches a value, with linear interpolation; inf if it never does.

    Args:
        curve: Points ``(labels, value)`` with increasing labels.
        target: Value to reach.
    """
    previous: tuple[float, float] | None = None
    for labels, value in curve:
        if value >= target:
            if previous is None or value == previous[1]:
                return labels
            return previous[0] + (labels - previous[0]) * (target - previous[1]) / (value - previous[1])
        previous = labels, value
    return math.inf


def _finding(name: str, curves: Mapping[int, Sequence[Point]], reference: Mapping[int, Sequence[Point]]) -> Finding:
    seeds = sorted(set(curves) & set(reference))
    areas = {
        score: [[area(side[s], score) for s in seeds] for side in (curves, reference)] for score in (_dice, _cl_dice)
    }
    share, low, high = _share([curves[s] for s in seeds], [reference[s] for s in seeds])
    return Finding(
        strategy=name,
        final=mean_interval([curves[s][-1].dice for s in seeds]),
        area=mean_interval(areas[_dice][0]),
        gain=paired_difference(*areas[_dice]),
        cl_gain=paired_difference(*areas[_cl_dice]),
        share=share,
        share_low=low,
        share_high=high,
        minutes=float(np.mean([curves[s][-1].minutes for s in seeds])) if seeds else math.nan,
        seeds=len(seeds),
    )


def _share(curves: Sequence[Sequence[Point]], reference: Sequence[Sequence[Point]]) -> tuple[float, float, float]:
    """Return the share of labels on the mean curves and its percentile interval over resampled seeds."""
    if not curves:
        return math.nan, math.nan, math.nan
    labels, dice = _as_arrays(curves)
    reference_labels, reference_dice = _as_arrays(reference)

    def share(sample: NDArray[np.integer]) -> float:
        target = float(reference_dice[sample, -1].mean())
        curve = list(zip(labels[sample].mean(0).tolist(), dice[sample].mean(0).tolist(), strict=True))
        return labels_until(curve, target) / float(reference_labels[sample, -1].mean())

    all_seeds = np.arange(len(curves))
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    shares = np.sort([share(rng.integers(0, len(curves), len(curves))) for _ in range(RESAMPLES)])
    tail = (1 - CONFIDENCE) / 2
    ends = [float(shares[round(at * (RESAMPLES - 1))]) for at in (tail, 1 - tail)]
    return share(all_seeds), ends[0], ends[1]


def _as_arrays(runs: Sequence[Sequence[Point]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return labels and Dice of the curves, both ``(seeds, rounds)``."""
    return np.array([[p.labels for p in points] for points in runs], float), np.array(
        [[p.dice for p in points] for points in runs], float
    )


def _dice(point: Point) -> float:
    return point.dice


def _cl_dice(point: Point) -> float:
    return point.cl_dice


def table(results: Sequence[Finding], reference: str = REFERENCE) -> str:
    """Return the results as a Markdown table."""
    rows = [
        f"| strategy | Dice at the end | mean Dice along the curve | difference from {reference} "
        "| difference in clDice "
        f"| labels needed for the last Dice of {reference} | minutes of work | seeds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for finding in results:
        plain = [_format_interval(interval) for interval in (finding.final, finding.area)]
        signed = [_format_interval(interval, "+") for interval in (finding.gain, finding.cl_gain)]
        share = f"{_percent(finding.share)} [{_percent(finding.share_low)}, {_percent(finding.share_high)}]"
        cells = [finding.strategy, *plain, *signed, share, f"{finding.minutes:.0f}", str(finding.seeds)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def as_json(results: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the results as JSON values; numbers that are not finite become None."""

    def safe(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: safe(entry) for key, entry in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return [safe(asdict(finding)) for finding in results]


def _format_interval(interval: Interval, sign: str = "") -> str:
    return f"{interval.mean:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else "never"
