"""What scores support: intervals over seeds, pairs, and words that do not say more than they may."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lib.learning.experiment.plan import Plan
from lib.learning.experiment.report import Score, differences, of, report, table


def scores(gain: float, seeds: int = 5, noise: float = 0.01) -> list[Score]:
    """Return two arms at two numbers of labels; the second is better by `gain`, give or take."""
    found = []
    for seed in range(seeds):
        for labels in (8, 16):
            base = 0.5 + 0.01 * labels + 0.05 * seed
            found.append(Score("scratch", labels, seed, base, 10.0))
            found.append(Score("specific", labels, seed, base + gain + noise * (seed % 2 - 0.5), 20.0))
    return found


@pytest.mark.parametrize(("gain", "verdict"), [(0.1, "better"), (-0.1, "worse"), (0.0, "no difference shown")])
def test_verdicts_are_paired_by_seed(gain: float, verdict: str) -> None:
    found = differences(scores(gain))
    assert [(each.labels, each.ours, each.theirs) for each in found] == [
        (8, "specific", "scratch"),
        (16, "specific", "scratch"),
    ]
    assert {each.verdict for each in found} == {verdict}
    assert found[0].gain.mean == pytest.approx(gain, abs=0.002) and found[0].gain.count == 5


def test_one_seed_shows_nothing() -> None:
    (first, _) = differences(scores(0.1, seeds=1))
    assert math.isnan(first.gain.low) and first.verdict == "too few seeds"


def test_seeds_that_one_arm_lacks_are_left_out() -> None:
    known = [each for each in scores(0.1) if not (each.arm == "specific" and each.seed == 4)]
    assert differences(known)[0].gain.count == 4 and set(of(known, "specific", 8)) == {0, 1, 2, 3}


def test_files(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    answer = report(scores(0.1), make_plan(labels=(8, 16)), tmp_path)
    told = json.loads((tmp_path / "findings.json").read_text())
    assert len(told["scores"]) == 20 and told["differences"] == answer["differences"]
    text = (tmp_path / "table.md").read_text()
    assert "| scratch | 0.680 [" in text and "+0.099" in text and "better" in text
    assert Image.open(tmp_path / "curves.png").width > 400


def test_an_arm_that_did_not_run_has_no_row(make_plan: Callable[..., Plan]) -> None:
    assert "MAE" not in table(scores(0.1), differences(scores(0.1)), make_plan(labels=(8, 16)))
