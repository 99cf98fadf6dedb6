import math

import pytest

from lib.simulation.campaign import Point
from lib.simulation.curves import REFERENCE, area, as_json, findings, labels_until, table


def points(*dice: float) -> list[Point]:
    return [Point(4 * n, 0, 10.0 * n, value, value / 2, {}, "publish", ()) for n, value in enumerate(dice, start=1)]


def test_the_area_is_the_mean_score_over_the_labels() -> None:
    assert area(points(0.2, 0.4, 0.8), lambda p: p.dice) == pytest.approx((0.3 + 0.6) / 2)
    assert area(points(0.7), lambda p: p.dice) == 0.7


@pytest.mark.parametrize(
    ("target", "labels"), [(0.1, 4), (0.2, 4), (0.3, 6), (0.8, 12), (0.81, math.inf)], ids=lambda value: str(value)
)
def test_labels_until_a_curve_reaches_a_value(target: float, labels: float) -> None:
    assert labels_until([(4, 0.2), (8, 0.4), (12, 0.8)], target) == pytest.approx(labels)


def test_a_falling_curve_counts_at_its_first_crossing() -> None:
    assert labels_until([(4, 0.5), (8, 0.3), (12, 0.6)], 0.5) == 4


def runs() -> dict[str, dict[int, list[Point]]]:
    return {
        REFERENCE: {seed: points(0.2, 0.4, 0.6) for seed in range(5)},
        "better": {seed: points(0.2, 0.6, 0.7 + 0.01 * seed) for seed in range(5)},
        "worse": {seed: points(0.2, 0.3, 0.5) for seed in range(5)},
    }


def test_findings_computed_by_hand() -> None:
    results = {finding.strategy: finding for finding in findings(runs())}
    better = results["better"]
    assert better.share == pytest.approx(8 / 12) and better.share_low == better.share_high == pytest.approx(8 / 12)
    assert better.final.mean == pytest.approx(0.72)
    assert better.gain.mean == pytest.approx((0.4 + 0.66) / 2 - 0.4) and better.gain.low > 0
    assert better.cl_gain.mean == pytest.approx(better.gain.mean / 2)
    assert results["worse"].share == math.inf and results[REFERENCE].share == 1.0
    assert results[REFERENCE].gain.mean == 0 and better.minutes == 30.0


def test_the_table_starts_with_the_best_strategy_and_marks_an_unreached_dice() -> None:
    text = table(findings(runs()))
    assert text.index("| better") < text.index("| worse") and "never [never, never]" in text
    assert "| 67% [67%, 67%] |" in text


def test_json_has_none_for_infinite_numbers() -> None:
    assert [record["share"] for record in as_json(findings(runs()))] == [pytest.approx(8 / 12), 1.0, None]


def test_only_seeds_of_both_strategies_are_compared() -> None:
    known = runs()
    known["better"] = {0: known["better"][0], 9: known["better"][1]}
    assert next(finding.seeds for finding in findings(known) if finding.strategy == "better") == 1


def test_missing_reference_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="did not run"):
        findings({"better": runs()["better"]})
