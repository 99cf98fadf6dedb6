"""Markdown tables of summaries."""

import pytest

from lib.evaluation.table import comparison_table, summary_table

DICE = {"mean": 0.91234, "low": 0.85, "high": 0.97, "count": 5}
ONE_CASE = {"mean": 3.14159, "low": None, "high": None, "count": 1}
NONE = {"mean": None, "low": None, "high": None, "count": 0}
SUMMARY = {"count": 5, "classes": {"nasal_cavity": {"dice": DICE, "hd95_mm": ONE_CASE}, "all labels": {"dice": NONE}}}


def test_summary_table() -> None:
    assert summary_table(SUMMARY, ("dice", "hd95_mm")).splitlines() == [
        "| Class | Dice | HD95, mm |",
        "| --- | ---: | ---: |",
        "| nasal cavity | 0.912 [0.850, 0.970] | 3.14 |",
        "| all labels | - | - |",
    ]


def test_comparison_table() -> None:
    table = comparison_table({"model": SUMMARY, "fill rule": SUMMARY}, "nasal_cavity", ("dice",))
    assert table.splitlines()[2:] == ["| model | 0.912 [0.850, 0.970] |", "| fill rule | 0.912 [0.850, 0.970] |"]


def test_an_absent_class_raises_a_key_error() -> None:
    with pytest.raises(KeyError):
        comparison_table({"model": SUMMARY}, "larynx")
