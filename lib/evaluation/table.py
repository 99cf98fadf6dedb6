"""Render summaries as Markdown tables, for a terminal, a page or a report."""

from collections.abc import Mapping, Sequence
from typing import Any

# Heading and number of decimals of each score.
TITLES = {
    "dice": ("Dice", 3),
    "iou": ("IoU", 3),
    "nsd": ("NSD", 3),
    "hd95_mm": ("HD95, mm", 2),
    "cl_dice": ("clDice", 3),
    "volume_ml": ("Volume, ml", 2),
    "reference_volume_ml": ("Reference, ml", 2),
    "betti_0_error": ("b0 error", 1),
    "betti_1_error": ("b1 error", 1),
    "betti_2_error": ("b2 error", 1),
    "tree_length_detected": ("TD", 3),
    "branches_detected": ("BD", 3),
}
MISSES, MISSES_TITLE = "misses", "Missed / invented"
"""Column with the numbers of cases in which the class is missed altogether, and drawn although it is absent."""
COLUMNS = ("dice", "nsd", "hd95_mm", "cl_dice", "betti_0_error", MISSES)


def summary_table(summary: Mapping[str, Any], columns: Sequence[str] = COLUMNS) -> str:
    """Render one summary, with one row per class.

    Args:
        summary: Result of `lib.evaluation.report.summarise`.
        columns: Scores to show, keys of `TITLES`, or `MISSES`.
    Returns:
        A Markdown table; a cell is ``mean [low, high]``, or a dash if the score is not defined.
    """
    return _render("Class", summary["classes"], columns)


def comparison_table(summaries: Mapping[str, Mapping[str, Any]], name: str, columns: Sequence[str] = COLUMNS) -> str:
    """Render one class of several summaries, with one row per method, such as the model and its baselines.

    Args:
        summaries: Summary of each method, by name.
        name: Class to compare.
        columns: Scores to show, keys of `TITLES`, or `MISSES`.
    Returns:
        A Markdown table.
    Raises:
        KeyError: If a summary lacks the class.
    """
    return _render("Method", {method: summary["classes"][name] for method, summary in summaries.items()}, columns)


def _render(corner: str, rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> str:
    titles = [MISSES_TITLE if column == MISSES else TITLES[column][0] for column in columns]
    lines = [[corner, *titles], ["---", *("---:" for _ in columns)]]
    for name, scores in rows.items():
        lines.append([name.replace("_", " "), *(_column(scores, column) for column in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _column(scores: Mapping[str, Any], column: str) -> str:
    if column == MISSES:
        return f"{scores['missed']} / {scores['invented']}"
    return _cell(scores.get(column), TITLES[column][1])


def _cell(interval: Mapping[str, Any] | None, digits: int) -> str:
    if interval is None or interval["mean"] is None:
        return "-"
    mean, low, high = (interval[key] for key in ("mean", "low", "high"))
    return f"{mean:.{digits}f}" + ("" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]")
