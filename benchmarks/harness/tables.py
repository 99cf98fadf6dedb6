"""Render figures as Markdown."""

import statistics
from collections.abc import Iterable, Sequence

import numpy as np

RULES = {"l": "---", "r": "---:"}


def markdown_table(heads: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        heads: Column heads.
        align: One letter per column, "l" for left or "r" for right; the last letter applies to all further columns.
        rows: Cells, row by row.
    """
    letters = align.ljust(len(heads), align[-1])
    return [
        f"| {' | '.join(heads)} |",
        f"|{'|'.join(RULES[letter] for letter in letters)}|",
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]


def median_range(values: Sequence[float], spec: str = ".1f", unit: str = "x") -> str:
    """Render a median with its range, as in ``2.0x (1.5-3.1)``."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:{spec}}{unit} ({low:{spec}}-{high:{spec}})"


def mean_sd(values: Sequence[float], digits: int) -> str:
    """Render a mean with its standard deviation, if there are several values."""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"
