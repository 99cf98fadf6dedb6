"""Score one case, and summarise many cases, as dictionaries that are valid JSON.

A case is ``{"spacing_mm", "tolerance_mm", "classes": {name: scores}, "mean": scores, "unconnected_ml", ...}``. The
class `UNION` is the union of all labels. A class that neither label has is not scored: its scores are None. A class
that the prediction misses completely (`missed`), or has although the reference lacks it (`invented`), counts: its Dice,
NSD and clDice are 0, and its HD95 is the diagonal of the image in mm, the largest distance that the image can hold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.evaluation.intervals import mean_interval
from lib.evaluation.metrics.crop import bounding_box
from lib.evaluation.metrics.overlap import dice, iou
from lib.evaluation.metrics.surface import surface_scores
from lib.evaluation.metrics.topology import betti_numbers, cl_dice, tree_scores
from lib.evaluation.metrics.volume import outside_ml, unconnected_ml, volume_ml

IGNORE = 255
UNION = "all labels"
TOLERANCE_MM = 1.0
MISSES = ("missed", "invented")

Mask = npt.NDArray[np.bool_]
Label = npt.NDArray[np.integer]


def evaluate_case(
    prediction: Label,
    reference: Label,
    spacing_mm: Sequence[float],
    labels: Mapping[str, int],
    *,
    covered: Sequence[str] | None = None,
    hull: Mask | None = None,
    tolerance_mm: float | None = None,
    light: bool = False,
) -> dict[str, Any]:
    """Score a predicted label against its reference, per class and for the union of the classes.

    Voxels with the reference value 255 are not scored. If the reference has one label for all classes together,
    pass ``prediction > 0``, ``reference`` and ``{UNION: 1}``.

    Args:
        prediction: Label values, ``(X, Y, Z)`` RAS, or ``(X, Y)``.
        reference: Label values on the same grid.
        spacing_mm: Voxel spacing per axis, in mm.
        labels: Value of each class, 1 to 254, by name.
        covered: Names of the classes that the reference covers; None for all. The others are not scored, and neither is
            the union of the classes, whose extent is not known then.
        hull: Inside of the body (`lib.evaluation.baselines.threshold.hull`); adds the score ``outside_ml``.
        tolerance_mm: Tolerance of the normalised surface Dice, at least the largest voxel spacing; None takes the
            larger of `TOLERANCE_MM` and that spacing.
        light: Score overlap and volume only, for validation during training.
    Returns:
        The JSON-safe case: `classes` with `UNION` last, `mean` over the classes without `UNION`, and the volumes of
        false positives of the union (not if `light`).
    Raises:
        ValueError: If shapes or spacing do not match, a label value is not allowed, or the tolerance is below the
            spacing.
    """
    _check(prediction, reference, spacing_mm, labels)
    tolerance_mm = _tolerance(spacing_mm, tolerance_mm)
    diagonal_mm = math.hypot(*(size * step for size, step in zip(reference.shape, spacing_mm, strict=True)))
    ignored = reference == IGNORE
    drawn = {name: value for name, value in labels.items() if covered is None or name in covered}
    tables, union = {name: _table([value]) for name, value in drawn.items()}, _table(list(drawn.values()))
    if len(drawn) == len(labels):
        tables[UNION] = union
    found = _union(prediction, union)
    case: dict[str, Any] = {"spacing_mm": list(spacing_mm), "classes": {}}
    if UNION not in tables:
        case["covered"] = list(drawn)
    if not light:
        case |= {"tolerance_mm": tolerance_mm} | _false_positives(
            found, _union(reference, union) | ignored, hull, ignored, spacing_mm
        )
    # The rim of one voxel keeps the masks off the faces of the box, so that surface and topology do not change.
    box = bounding_box(found | _union(reference, union), margin=1)
    valid, inner, truth = ~ignored[box], prediction[box], reference[box]
    for name, table in tables.items():
        masks = _union(inner, table) & valid, _union(truth, table) & valid
        scores = _overlap_scores(*masks, spacing_mm)
        if not light:
            scores |= _shape_scores(*masks, spacing_mm, tolerance_mm, diagonal_mm)
        if name == UNION and not light:
            scores |= dict(zip(("tree_length_detected", "branches_detected"), tree_scores(*masks), strict=True))
        case["classes"][name] = scores
    case["mean"] = _mean_over_classes(case["classes"])
    return json_safe(case)


def summarise(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of every score over cases, with its 95 % interval.

    Args:
        cases: Results of `evaluate_case`.
    Returns:
        JSON-safe ``{"count", "classes": {name: {score: {mean, low, high, count}}}, "mean", "unconnected_ml", ...}``;
        the `count` of a score is the number of cases where it is defined. A class also has the numbers of cases in
        which it is `missed` and `invented`, and the summary has the tolerances of the NSD, `tolerances_mm`.
    """
    names = dict.fromkeys(name for case in cases for name in case["classes"])
    tolerances_mm = sorted({case["tolerance_mm"] for case in cases if "tolerance_mm" in case})
    summary: dict[str, Any] = {"count": len(cases), "tolerances_mm": tolerances_mm, "classes": {}}
    for name in names:
        rows = [case["classes"].get(name, {}) for case in cases]
        misses = {kind: sum(bool(row.get(kind)) for row in rows) for kind in MISSES}
        summary["classes"][name] = misses | _intervals(rows)
    summary["mean"] = _intervals([case["mean"] for case in cases])
    for key in ("unconnected_ml", "outside_ml"):
        summary |= _intervals([{key: case[key]} for case in cases if key in case])
    return json_safe(summary)


def json_safe(value: Any) -> Any:
    """Return `value` with Python numbers instead of NumPy numbers, and None for nan and inf, which JSON lacks.

    Args:
        value: Nested dictionaries, sequences and numbers.
    Returns:
        The same structure in plain Python.
    """
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [json_safe(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check(prediction: Label, reference: Label, spacing_mm: Sequence[float], labels: Mapping[str, int]) -> None:
    if prediction.shape != reference.shape or len(spacing_mm) != reference.ndim:
        raise ValueError(
            f"prediction {prediction.shape}, reference {reference.shape} and spacing {tuple(spacing_mm)} do not match;"
            " expected one shape and one spacing per axis"
        )
    if not labels or not all(0 < value < IGNORE for value in labels.values()):
        raise ValueError(f"expected labels with values from 1 to {IGNORE - 1}, got {dict(labels)}")
    if UNION in labels and len(labels) > 1:
        raise ValueError(f"the label name {UNION!r} is reserved for the union of the classes: rename the label")
    for name, array in (("prediction", prediction), ("reference", reference)):
        if array.size and not 0 <= int(array.min()) <= int(array.max()) <= IGNORE:
            found = f"{array.min()} to {array.max()}"
            raise ValueError(f"the {name} has values from {found}; expected values from 0 to {IGNORE}")


def _tolerance(spacing_mm: Sequence[float], tolerance_mm: float | None) -> float:
    """Return the tolerance of the NSD in mm, checked."""
    least = max(spacing_mm)
    if tolerance_mm is not None and tolerance_mm < least:
        raise ValueError(
            f"the NSD tolerance of {tolerance_mm:g} mm is below the voxel spacing of {least:g} mm, so only equal voxels"
            " would agree along that axis: give at least the largest spacing, or resample both labels to a finer grid"
        )
    return max(TOLERANCE_MM, least) if tolerance_mm is None else tolerance_mm


def _table(values: list[int]) -> Mask:
    table = np.zeros(IGNORE + 1, bool)
    table[values] = True
    return table


def _union(label: Label, table: Mask) -> Mask:
    return table[label.astype(np.uint8, copy=False)]


def _false_positives(
    found: Mask, known: Mask, hull: Mask | None, ignored: Mask, spacing_mm: Sequence[float]
) -> dict[str, float]:
    volumes = {"unconnected_ml": unconnected_ml(found, known, spacing_mm)}
    if hull is not None:
        volumes["outside_ml"] = outside_ml(found & ~ignored, hull, spacing_mm)
    return volumes


def _overlap_scores(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> dict[str, Any]:
    found, there = bool(prediction.any()), bool(reference.any())
    return {
        "missed": there and not found,
        "invented": found and not there,
        "dice": dice(prediction, reference),
        "iou": iou(prediction, reference),
        "volume_ml": volume_ml(prediction, spacing_mm),
        "reference_volume_ml": volume_ml(reference, spacing_mm),
    }


def _shape_scores(
    prediction: Mask, reference: Mask, spacing_mm: Sequence[float], tolerance_mm: float, diagonal_mm: float
) -> dict[str, Any]:
    nsd, hd95_mm = surface_scores(prediction, reference, spacing_mm, tolerance_mm)
    hd95_mm = diagonal_mm if math.isinf(hd95_mm) else hd95_mm
    betti, reference_betti = betti_numbers(prediction), betti_numbers(reference)
    errors = {f"betti_{order}_error": abs(betti[order] - reference_betti[order]) for order in range(3)}
    scores = {"nsd": nsd, "hd95_mm": hd95_mm, "cl_dice": cl_dice(prediction, reference)}
    return scores | {"betti": betti, "reference_betti": reference_betti} | errors


def _mean_over_classes(classes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    parts = [scores for name, scores in classes.items() if name != UNION] or list(classes.values())
    means = {}
    for key in ("dice", "iou", "nsd", "hd95_mm", "cl_dice"):
        defined = [scores[key] for scores in parts if key in scores and math.isfinite(scores[key])]
        if any(key in scores for scores in parts):
            means[key] = float(np.mean(defined)) if defined else math.nan
    return means


def _intervals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list | bool))
    columns = {key: [math.nan if row.get(key) is None else row[key] for row in rows] for key in keys}
    return {key: asdict(mean_interval(values)) for key, values in columns.items()}
