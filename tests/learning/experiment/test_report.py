"""Report of an experiment: intervals over seeds, paired differences, and verdicts."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lib.learning.experiment.plan import Plan
from lib.learning.experiment.report import Score, dice_by_seed, differences, report, table


def scores(gain: float, seeds: int = 5, noise: float = 0.01) -> list[Score]:
    """Return scores of two arms at two numbers of labels; the second is better by about `gain`."""
    runs = []
    for seed in range(seeds):
        for labels in (8, 16):
            base = 0.5 + 0.01 * labels + 0.05 * seed
            runs.append(Score("scratch", labels, seed, base, 10.0))
            runs.append(Score("specific", labels, seed, base + gain + noise * (seed % 2 - 0.5), 20.0))
    return runs


@pytest.mark.parametrize(("gain", "verdict"), [(0.1, "better"), (-0.1, "worse"), (0.0, "no difference shown")])
def test_verdicts_are_paired_by_seed(gain: float, verdict: str) -> None:
    compared = differences(scores(gain))
    assert [(difference.labels, difference.arm, difference.reference) for difference in compared] == [
        (8, "specific", "scratch"),
        (16, "specific", "scratch"),
    ]
    assert {difference.verdict for difference in compared} == {verdict}
    assert compared[0].gain.mean == pytest.approx(gain, abs=0.002) and compared[0].gain.count == 5


def test_one_seed_has_no_interval_and_no_verdict() -> None:
    (first, _) = differences(scores(0.1, seeds=1))
    assert math.isnan(first.gain.low) and first.verdict == "too few seeds"


def test_only_seeds_of_both_arms_are_compared() -> None:
    known = [score for score in scores(0.1) if not (score.arm == "specific" and score.seed == 4)]
    assert differences(known)[0].gain.count == 4 and set(dice_by_seed(known, "specific", 8)) == {0, 1, 2, 3}


def test_report_writes_findings_table_and_picture(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    answer = report(scores(0.1), make_plan(labels=(8, 16)), tmp_path)
    findings = json.loads((tmp_path / "findings.json").read_text())
    assert len(findings["scores"]) == 20 and findings["differences"] == answer["differences"]
    text = (tmp_path / "table.md").read_text()
    assert "| scratch | 0.680 [" in text and "+0.099" in text and "better" in text
    assert Image.open(tmp_path / "curves.png").width > 400


def test_an_arm_without_runs_has_no_row(make_plan: Callable[..., Plan]) -> None:
    assert "MAE" not in table(scores(0.1), differences(scores(0.1)), make_plan(labels=(8, 16)))
