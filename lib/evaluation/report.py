"""The scores of one case and of many, as dictionaries that go into JSON as they are.

A case is ``{"spacing_mm", "tolerance_mm", "classes": {name: scores}, "mean": scores, "unconnected_ml", ...}``. Among
the classes, `UNION` is every label together. A score that is not defined (both masks empty, no distance) is None; a
class that was missed altogether still counts, as Dice 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.evaluation.bootstrap import mean_interval
from lib.evaluation.metrics.crop import bounding_box
from lib.evaluation.metrics.overlap import dice, iou
from lib.evaluation.metrics.surface import surface_scores
from lib.evaluation.metrics.topology import betti_numbers, cl_dice, tree_scores
from lib.evaluation.metrics.volume import outside_ml, unconnected_ml, volume_ml

IGNORE = 255
UNION = "airway"
TOLERANCE_MM = 1.0

Mask = npt.NDArray[np.bool_]
Label = npt.NDArray[np.integer]


def evaluate_case(
    prediction: Label,
    reference: Label,
    spacing_mm: Sequence[float],
    labels: Mapping[str, int],
    *,
    hull: Mask | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    light: bool = False,
) -> dict[str, Any]:
    """Score a predicted label against its reference, per class and for the union of the classes.

    Where the reference is 255 neither counts. If the reference knows one label "airway" only, hand in
    ``prediction > 0``, ``reference`` and ``{"airway": 1}``.

    Args:
        prediction: Label values, ``(X, Y, Z)`` RAS, or ``(X, Y)``.
        reference: Label values on the same grid.
        spacing_mm: Voxel spacing per axis, in mm.
        labels: Value of each class, 1 to 254, by name.
        hull: Inside of the body (`lib.evaluation.baselines.threshold.hull`); with it, the volume outside counts.
        tolerance_mm: Tolerance of the normalised surface Dice.
        light: Overlap and volume only, for validation during training.
    Returns:
        The case, JSON-safe: `classes` with `UNION` last, `mean` over the classes without it, and volumes of false
        positives of the union (not if `light`).
    Raises:
        ValueError: If shapes, spacing or label values do not fit.
    """
    _check(prediction, reference, spacing_mm, labels)
    ignored = reference == IGNORE
    tables = {name: _table([value]) for name, value in labels.items()} | {UNION: _table(list(labels.values()))}
    found = _union(prediction, tables[UNION])
    case: dict[str, Any] = {"spacing_mm": list(spacing_mm), "classes": {}}
    if not light:
        case |= {"tolerance_mm": tolerance_mm} | _false_positives(
            found, _union(reference, tables[UNION]) | ignored, hull, ignored, spacing_mm
        )
    # One voxel of rim keeps every mask off the cut faces, so that its surface and topology are those of the whole.
    box = bounding_box(found | _union(reference, tables[UNION]), margin=1)
    valid, inner, truth = ~ignored[box], prediction[box], reference[box]
    for name, table in tables.items():
        masks = _union(inner, table) & valid, _union(truth, table) & valid
        scores = _overlap_scores(*masks, spacing_mm)
        if not light:
            scores |= _shape_scores(*masks, spacing_mm, tolerance_mm)
        if name == UNION and not light:
            scores |= dict(zip(("tree_length_detected", "branches_detected"), tree_scores(*masks), strict=True))
        case["classes"][name] = scores
    case["mean"] = _mean_over_classes(case["classes"])
    return json_safe(case)


def summarise(cases: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return the mean of every score over cases, with its bootstrap interval.

    Args:
        cases: What `evaluate_case` gave.
        seed: Seed of the resampling.
    Returns:
        JSON-safe ``{"count", "classes": {name: {score: {mean, low, high, count}}}, "mean", "unconnected_ml", ...}``;
        the `count` of a score is the number of cases where it is defined.
    """
    names = dict.fromkeys(name for case in cases for name in case["classes"])
    summary: dict[str, Any] = {"count": len(cases)}
    summary["classes"] = {name: _intervals([case["classes"].get(name, {}) for case in cases], seed) for name in names}
    summary["mean"] = _intervals([case["mean"] for case in cases], seed)
    for key in ("unconnected_ml", "outside_ml"):
        summary |= _intervals([{key: case[key]} for case in cases if key in case], seed)
    return json_safe(summary)


def json_safe(value: Any) -> Any:
    """Return `value` with NumPy numbers as Python's and with None for nan and inf, which JSON does not have.

    Args:
        value: Nested dictionaries, sequences and numbers.
    Returns:
        The same in plain Python.
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
        raise ValueError(f"{prediction.shape}, {reference.shape} and spacing {tuple(spacing_mm)} do not fit together")
    if not labels or not all(0 < value < IGNORE for value in labels.values()):
        raise ValueError(f"labels need values from 1 to {IGNORE - 1}, not {dict(labels)}")
    if UNION in labels and len(labels) > 1:
        raise ValueError(f"{UNION!r} names the union of the classes and cannot be one of several")
    for name, array in (("prediction", prediction), ("reference", reference)):
        if array.size and not 0 <= int(array.min()) <= int(array.max()) <= IGNORE:
            raise ValueError(f"the {name} holds values outside 0 to {IGNORE}")


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
    return {
        "dice": dice(prediction, reference),
        "iou": iou(prediction, reference),
        "volume_ml": volume_ml(prediction, spacing_mm),
        "reference_volume_ml": volume_ml(reference, spacing_mm),
    }


def _shape_scores(
    prediction: Mask, reference: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> dict[str, Any]:
    nsd, hd95_mm = surface_scores(prediction, reference, spacing_mm, tolerance_mm)
    ours, theirs = betti_numbers(prediction), betti_numbers(reference)
    errors = {f"betti_{order}_error": abs(ours[order] - theirs[order]) for order in range(3)}
    scores = {"nsd": nsd, "hd95_mm": hd95_mm, "cl_dice": cl_dice(prediction, reference)}
    return scores | {"betti": ours, "reference_betti": theirs} | errors


def _mean_over_classes(classes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    parts = [scores for name, scores in classes.items() if name != UNION] or list(classes.values())
    means = {}
    for key in ("dice", "iou", "nsd", "hd95_mm", "cl_dice"):
        defined = [scores[key] for scores in parts if key in scores and math.isfinite(scores[key])]
        if any(key in scores for scores in parts):
            means[key] = float(np.mean(defined)) if defined else math.nan
    return means


def _intervals(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list))
    columns = {key: [math.nan if row.get(key) is None else row[key] for row in rows] for key in keys}
    return {key: asdict(mean_interval(values, seed=seed)) for key, values in columns.items()}
