"""The gate: whether a new version may be served, decided on scores alone.

Patients are compared, not cases: two series of one patient are not independent.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lib.evaluation.bootstrap import Interval, paired_difference

PUBLISH, HOLD, REJECT = "publish", "hold", "reject"
SLACK_SECONDS = 1.0
"""A version may always be this much slower: below it, the machine is measured and not the model."""
SEED = 20
DICE, PSNR, SSIM = "dice", "psnr", "ssim"
METRICS = {DICE: "Dice", PSNR: "PSNR", SSIM: "SSIM"}
"""What versions are compared by: masks by the first (and by clDice), restored images by the others, PSNR in dB."""


@dataclass(frozen=True)
class GateSpec:
    """What a task asks of a new version.

    Args:
        metric: One of `METRICS`.
        tolerance: How far the lower bound of the paired difference in it, and in clDice, may lie below 0.
        floors: Least mean of a class, by its name; of restored images, of the metric, by its own.
        latency_factor: How many times the champion's time per case it may take.
        teacher_share: Least share of its teacher's mean Dice, on the same cases, that a student must reach.
    """

    metric: str = DICE
    tolerance: float = 0.01
    floors: Mapping[str, float] = field(default_factory=dict)
    latency_factor: float = 2.0
    teacher_share: float = 0.95


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One case, as a version did on it.

    Args:
        case: Its name.
        patient: Whose it is.
        scores: Dice by class, None where neither prediction nor reference has the class; of a restored image, the
            metric by its name.
        cl_dice: Of the union of the classes; None where both are empty, and of images.
        finite: Whether every logit was a number.
        constant: Whether one value was given to all voxels although the reference has several.
        seconds: Time of inference.
        fault: The error that kept the version from answering; empty if it answered.
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
    """What the gate says.

    Args:
        verdict: "publish", "hold" for the admin's word, or "reject".
        reasons: Why, one sentence each.
        figures: What it rests on, JSON-safe.
    """

    verdict: str
    reasons: tuple[str, ...]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


def decide(
    challenger: Sequence[Judged],
    champion: Sequence[Judged] | None,
    spec: GateSpec,
    *,
    min_patients: int,
    probes: Sequence[Judged] = (),
    teacher: Sequence[Judged] = (),
) -> Decision:
    """Decide on a new version.

    Args:
        challenger: The new version on the held-out cases.
        champion: The served version on the same cases; None if nothing is served.
        spec: What is asked.
        min_patients: Held-out patients below which nothing is published without the admin's word.
        probes: The new version on any cases, for the canary where no case is held out.
        teacher: What taught the new version, on the same cases; empty where it has no teacher.
    Raises:
        ValueError: If the two were judged on different cases.
    """
    if champion is not None and [each.case for each in challenger] != [each.case for each in champion]:
        raise ValueError("champion and challenger are compared on the same cases, in one order")
    compared = {METRICS[spec.metric]: _scores} | ({"clDice": _cl_dice} if spec.metric == DICE else {})
    gains = {name: _gain(challenger, champion or (), of) for name, of in compared.items()}
    figures = _figures(challenger, champion, gains)
    behind = _behind(challenger, teacher, spec.teacher_share, figures) if teacher else []
    if broken := _canary(list(challenger) or list(probes), champion or (), spec):
        return Decision(REJECT, tuple(broken), figures)
    low, unseen = _floors(challenger, spec.floors, METRICS[spec.metric])
    worse = [] if champion is None else [text for name, gain in gains.items() if (text := _fallen(name, gain, spec))]
    patients = len({each.patient for each in challenger})
    if patients < max(min_patients, 2):
        few = f"{patients} held-out patients are too few to judge by ({max(min_patients, 2)} are needed)"
        return Decision(HOLD, (f"{few}: publishing takes the admin's word", *low, *worse, *behind), figures)
    if low or worse or behind:
        return Decision(REJECT, (*low, *worse, *behind), figures)
    if unseen:
        return Decision(HOLD, tuple(unseen), figures)
    return Decision(PUBLISH, (_praise(gains, champion, patients),), figures)


def _canary(judged: Sequence[Judged], champion: Sequence[Judged], spec: GateSpec) -> list[str]:
    if not judged:
        return []
    reasons = [f"{each.case}: it fails with {each.fault}" for each in judged if each.fault]
    reasons += [f"{each.case}: it gives values that are no numbers" for each in judged if not each.finite]
    if all(each.constant for each in judged):
        reasons.append("it gives every voxel the same value")
    ours, theirs = (statistics.median(each.seconds for each in side) if side else 0.0 for side in (judged, champion))
    if theirs and ours > spec.latency_factor * theirs + SLACK_SECONDS:
        reasons.append(f"it takes {ours:.1f} s a case, the served version {theirs:.1f} s")
    return reasons


def _floors(challenger: Sequence[Judged], floors: Mapping[str, float], metric: str) -> tuple[list[str], list[str]]:
    """Return the classes below their floor and those that no held-out case shows, in words."""
    low, unseen = [], []
    for name, floor in floors.items():
        mean = _mean([each.scores.get(name) for each in challenger])
        if math.isnan(mean):
            unseen.append(f"no held-out case shows {name}, which has a floor: publishing takes the admin's word")
        elif mean < floor:
            low.append(f"{name} has {metric} {mean:.3f}, below its floor of {floor:.3f}")
    return low, unseen


def _behind(student: Sequence[Judged], teacher: Sequence[Judged], least: float, figures: dict[str, Any]) -> list[str]:
    """Return, in words, that a student falls too far behind its teacher; note the share among the figures."""
    ours, theirs = (_mean([_mean(list(each.scores.values())) for each in side]) for side in (student, teacher))
    share = ours / theirs if theirs > 0 else math.nan
    figures["teacher_share"] = round(share, 4) if math.isfinite(share) else None
    if math.isnan(share) or share >= least:
        return []
    return [f"it reaches {share:.3f} of its teacher's Dice ({ours:.3f} of {theirs:.3f}), and {least:.3f} is asked"]


def _fallen(name: str, gain: Interval, spec: GateSpec) -> str:
    if gain.low > -spec.tolerance:
        return ""
    if math.isnan(gain.low):
        return f"{name} cannot be compared: too few held-out patients show anything"
    bounds = f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    return f"{name} may fall: {bounds} against the served version, and {-spec.tolerance:+.3f} is tolerated"


def _praise(gains: Mapping[str, Interval], champion: Sequence[Judged] | None, patients: int) -> str:
    if champion is None:
        return f"nothing is served to compare with, and {patients} held-out patients show no fault"
    parts = (f"{name} {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" for name, gain in gains.items())
    return f"no worse on {patients} held-out patients: {', '.join(parts)}"


def _gain(
    challenger: Sequence[Judged],
    champion: Sequence[Judged],
    score: Callable[[Judged, Judged], tuple[float, float]],
) -> Interval:
    """Return the interval of challenger minus champion over patients."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for ours, theirs in zip(challenger, champion, strict=False):
        pairs.setdefault(ours.patient, []).append(score(ours, theirs))
    means = [[_mean([pair[side] for pair in found]) for found in pairs.values()] for side in (0, 1)]
    return paired_difference(*means, seed=SEED)


def _scores(ours: Judged, theirs: Judged) -> tuple[float, float]:
    """Return both means over the classes that either has a score for.

    Where one has none, it rightly found nothing of a class that is not there, which is worth 1: otherwise a version
    that draws what is not there would be compared with nothing.
    """
    names = [name for name in ours.scores if ours.scores[name] is not None or theirs.scores.get(name) is not None]
    sides = [[1.0 if side.scores.get(name) is None else side.scores[name] for name in names] for side in (ours, theirs)]
    return _mean(sides[0]), _mean(sides[1])


def _cl_dice(ours: Judged, theirs: Judged) -> tuple[float, float]:
    if ours.cl_dice is None and theirs.cl_dice is None:
        return math.nan, math.nan
    return (1.0 if ours.cl_dice is None else ours.cl_dice), (1.0 if theirs.cl_dice is None else theirs.cl_dice)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(known) if known else math.nan


def _figures(
    challenger: Sequence[Judged], champion: Sequence[Judged] | None, gains: Mapping[str, Interval]
) -> dict[str, Any]:
    def safe(value: float) -> float | None:
        return round(value, 4) if math.isfinite(value) else None

    sides = {"challenger": challenger, "champion": champion or ()}
    means = {name: safe(_mean([_mean(list(each.scores.values())) for each in side])) for name, side in sides.items()}
    differences = {name: {k: safe(v) for k, v in asdict(gain).items()} for name, gain in gains.items()}
    patients = len({each.patient for each in challenger})
    return {"cases": len(challenger), "patients": patients, "mean_score": means, "differences": differences}
