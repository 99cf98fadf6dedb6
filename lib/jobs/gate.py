"""The gate: decide from scores whether a new version (the challenger) may replace the served one (the champion).

The comparison is paired over patients, not over cases: two series of one patient are not independent.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lib.evaluation.intervals import FEWEST_CASES, Interval, paired_difference

PUBLISH, HOLD, REJECT = "publish", "hold", "reject"
SLACK_SECONDS = 1.0
"""A version may always be this much slower: smaller differences come from the machine and not from the model."""
DICE, PSNR, SSIM = "dice", "psnr", "ssim"
METRICS = {DICE: "Dice", PSNR: "PSNR", SSIM: "SSIM"}
"""Metrics that versions are compared by: Dice (and clDice of tubes) for masks, PSNR in dB or SSIM for restorations."""


@dataclass(frozen=True)
class GateSpec:
    """Requirements of a task for a new version.

    Args:
        metric: One of `METRICS`.
        tolerance: Distance by which the lower confidence bound of the paired difference in the metric, and in clDice,
            may lie below 0.
        floors: Least mean score by class name; for restored images, least mean of the metric by its name.
        latency_factor: Largest ratio of the challenger's median time per case to the champion's.
        teacher_share: Least ratio of a student's mean Dice to its teacher's mean Dice on the same cases.
    """

    metric: str = DICE
    tolerance: float = 0.01
    floors: Mapping[str, float] = field(default_factory=dict)
    latency_factor: float = 2.0
    teacher_share: float = 0.95


@dataclass(frozen=True, kw_only=True)
class JudgedCase:
    """Scores of a version on one case.

    Args:
        case: Name of the case.
        patient: Name of the patient.
        scores: Dice by class name, None if neither prediction nor reference has the class, or the reference does not
            cover it. A class that the version does not know is missing. For a restored image, the value of the metric
            by its name.
        cl_dice: clDice of the union of the tubular classes, 0 if only one of prediction and reference has them; None if
            neither has, if no class is tubular, and for restored images.
        finite: Whether every output value is finite.
        constant: Whether the prediction has one value in all voxels although the reference has several.
        seconds: Time of inference in seconds.
        fault: Error that the version raised; empty if it answered.
    """

    case: str
    patient: str
    scores: Mapping[str, float | None]
    cl_dice: float | None = None
    finite: bool = True
    constant: bool = False
    seconds: float = 0.0
    fault: str = ""


@dataclass(frozen=True)
class Decision:
    """Decision of the gate about a version.

    Args:
        verdict: "publish", "hold" (an admin decides) or "reject".
        reasons: Reasons of the verdict, one sentence each.
        figures: Numbers that the verdict is based on, as JSON.
    """

    verdict: str
    reasons: tuple[str, ...]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


def decide(
    challenger: Sequence[JudgedCase],
    champion: Sequence[JudgedCase] | None,
    spec: GateSpec,
    *,
    min_patients: int,
    probes: Sequence[JudgedCase] = (),
    teacher: Sequence[JudgedCase] = (),
) -> Decision:
    """Decide whether a new version is published, held for an admin or rejected.

    Args:
        challenger: Scores of the new version on the held-out cases.
        champion: Scores of the served version on the same cases; None if no version is served.
        spec: Requirements of the task.
        min_patients: With fewer held-out patients, the version is held and an admin decides, as it is with too few for
            an interval.
        probes: Scores of the new version on other cases, for the canary if no case is held out.
        teacher: Scores of the student's teacher on the same cases; empty for a task without a teacher.
    Raises:
        ValueError: If champion and challenger were judged on different cases.
    """
    if champion is not None and [judged.case for judged in challenger] != [judged.case for judged in champion]:
        raise ValueError(
            "champion and challenger were judged on different cases: judge both on the same cases, in the same order"
        )
    tubular = any(judged.cl_dice is not None for judged in (*challenger, *(champion or ())))
    compared = {METRICS[spec.metric]: _mean_scores} | ({"clDice": _cl_dices} if tubular else {})
    gains = {name: _gain_interval(challenger, champion or (), scores) for name, scores in compared.items()}
    figures = _collect_figures(challenger, champion, gains)
    behind = _check_teacher_share(challenger, teacher, spec.teacher_share, figures) if teacher else []
    if broken := _check_canary(list(challenger) or list(probes), champion or (), spec):
        return Decision(REJECT, tuple(broken), figures)
    low, unseen = _check_floors(challenger, spec.floors, METRICS[spec.metric])
    known = {} if champion is None else {name: gain for name, gain in gains.items() if not math.isnan(gain.low)}
    worse = [reason for name, gain in known.items() if (reason := _check_gain(name, gain, spec))]
    patients, needed = len({judged.patient for judged in challenger}), max(min_patients, FEWEST_CASES)
    if patients < needed:
        few = f"{patients} held-out patients are too few for a decision ({needed} are needed)"
        return Decision(HOLD, (f"{few}: an admin decides", *low, *worse, *behind), figures)
    if low or worse or behind:
        return Decision(REJECT, (*low, *worse, *behind), figures)
    if champion is not None:
        unseen += [_describe_unknown_gain(name, gain) for name, gain in gains.items() if name not in known]
    if unseen:
        return Decision(HOLD, tuple(unseen), figures)
    return Decision(PUBLISH, (_publish_reason(gains, champion, patients),), figures)


def _check_canary(cases: Sequence[JudgedCase], champion: Sequence[JudgedCase], spec: GateSpec) -> list[str]:
    """Return one sentence for each sign that the version is broken or too slow."""
    if not cases:
        return []
    reasons = [f"{judged.case}: the version fails with {judged.fault}" for judged in cases if judged.fault]
    reasons += [f"{judged.case}: its output has values that are no numbers" for judged in cases if not judged.finite]
    if all(judged.constant for judged in cases):
        reasons.append("its output has the same value in every voxel")
    sides = (cases, champion)
    new, served = (statistics.median(judged.seconds for judged in side) if side else 0.0 for side in sides)
    if served and new > spec.latency_factor * served + SLACK_SECONDS:
        reasons.append(f"it takes {new:.1f} s per case, the served version {served:.1f} s")
    return reasons


def _check_floors(
    challenger: Sequence[JudgedCase], floors: Mapping[str, float], metric: str
) -> tuple[list[str], list[str]]:
    """Return one sentence for each class below its floor, and one for each class that no held-out case has."""
    low, unseen = [], []
    for name, floor in floors.items():
        mean = _mean([judged.scores.get(name) for judged in challenger])
        if math.isnan(mean):
            unseen.append(f"no held-out case shows {name}, so its floor cannot be checked: an admin decides")
        elif mean < floor:
            low.append(f"{name} has {metric} {mean:.3f}, below its floor of {floor:.3f}")
    return low, unseen


def _check_teacher_share(
    student: Sequence[JudgedCase], teacher: Sequence[JudgedCase], least: float, figures: dict[str, Any]
) -> list[str]:
    """Return a sentence if a student reaches too small a share of its teacher's Dice; add the share to the figures."""
    student_dice, teacher_dice = (
        _mean([_mean(list(judged.scores.values())) for judged in side]) for side in (student, teacher)
    )
    share = student_dice / teacher_dice if teacher_dice > 0 else math.nan
    figures["teacher_share"] = round(share, 4) if math.isfinite(share) else None
    if math.isnan(share) or share >= least:
        return []
    means = f"{student_dice:.3f} of {teacher_dice:.3f}"
    return [f"it reaches {share:.3f} of its teacher's Dice ({means}), and {least:.3f} is required"]


def _check_gain(name: str, gain: Interval, spec: GateSpec) -> str:
    """Return a sentence if the lower bound of a difference lies below the tolerance; empty if not."""
    if gain.low > -spec.tolerance:
        return ""
    bounds = f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    return f"{name} may fall: {bounds} against the served version, and {-spec.tolerance:+.3f} is tolerated"


def _describe_unknown_gain(name: str, gain: Interval) -> str:
    found = f"{gain.count} held-out {'patient has' if gain.count == 1 else 'patients have'} a score"
    return f"{name} cannot be compared: {found}, and {FEWEST_CASES} are needed: an admin decides"


def _publish_reason(gains: Mapping[str, Interval], champion: Sequence[JudgedCase] | None, patients: int) -> str:
    if champion is None:
        return f"no version is served to compare with, and {patients} held-out patients show no fault"
    parts = (f"{name} {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" for name, gain in gains.items())
    return f"no worse on {patients} held-out patients: {', '.join(parts)}"


def _gain_interval(
    challenger: Sequence[JudgedCase],
    champion: Sequence[JudgedCase],
    scores: Callable[[JudgedCase, JudgedCase], tuple[float, float]],
) -> Interval:
    """Return challenger minus champion over patients, with its 95 % interval."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for new, served in zip(challenger, champion, strict=False):
        pairs.setdefault(new.patient, []).append(scores(new, served))
    means = [[_mean([pair[side] for pair in found]) for found in pairs.values()] for side in (0, 1)]
    return paired_difference(*means)


def _mean_scores(new: JudgedCase, served: JudgedCase) -> tuple[float, float]:
    """Return the mean score of both versions over the classes that both know and at least one has a score for.

    A version without a score correctly predicted an absent class as absent, which counts as 1. Otherwise a version
    that draws an absent class would be compared with no score.
    """
    known = [name for name in new.scores if name in served.scores]
    names = [name for name in known if new.scores[name] is not None or served.scores[name] is not None]
    sides = [[1.0 if side.scores[name] is None else side.scores[name] for name in names] for side in (new, served)]
    return _mean(sides[0]), _mean(sides[1])


def _cl_dices(new: JudgedCase, served: JudgedCase) -> tuple[float, float]:
    if new.cl_dice is None and served.cl_dice is None:
        return math.nan, math.nan
    return (1.0 if new.cl_dice is None else new.cl_dice), (1.0 if served.cl_dice is None else served.cl_dice)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(known) if known else math.nan


def _collect_figures(
    challenger: Sequence[JudgedCase], champion: Sequence[JudgedCase] | None, gains: Mapping[str, Interval]
) -> dict[str, Any]:
    def as_json(value: float) -> float | None:
        return round(value, 4) if math.isfinite(value) else None

    sides = {"challenger": challenger, "champion": champion or ()}
    means = {
        name: as_json(_mean([_mean(list(judged.scores.values())) for judged in side])) for name, side in sides.items()
    }
    differences = {name: {key: as_json(value) for key, value in asdict(gain).items()} for name, gain in gains.items()}
    patients = len({judged.patient for judged in challenger})
    return {"cases": len(challenger), "patients": patients, "mean_score": means, "differences": differences}
