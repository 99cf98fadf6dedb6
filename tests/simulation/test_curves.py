import math

import pytest

from lib.simulation.campaign import Point
from lib.simulation.curves import REFERENCE, area, as_json, findings, labels_until, table


def points(*dice: float) -> list[Point]:
    return [Point(4 * n, 0, 10.0 * n, value, value / 2, {}, "publish", ()) for n, value in enumerate(dice, start=1)]


def test_the_area_is_the_mean_along_the_labels() -> None:
    assert area(points(0.2, 0.4, 0.8), lambda p: p.dice) == pytest.approx((0.3 + 0.6) / 2)
    assert area(points(0.7), lambda p: p.dice) == 0.7


@pytest.mark.parametrize(
    ("target", "labels"), [(0.1, 4), (0.2, 4), (0.3, 6), (0.8, 12), (0.81, math.inf)], ids=lambda each: str(each)
)
def test_labels_until_a_value(target: float, labels: float) -> None:
    assert labels_until([(4, 0.2), (8, 0.4), (12, 0.8)], target) == pytest.approx(labels)


def test_a_curve_that_falls_counts_when_it_was_there_first() -> None:
    assert labels_until([(4, 0.5), (8, 0.3), (12, 0.6)], 0.5) == 4


def runs() -> dict[str, dict[int, list[Point]]]:
    return {
        REFERENCE: {seed: points(0.2, 0.4, 0.6) for seed in range(5)},
        "ours": {seed: points(0.2, 0.6, 0.7 + 0.01 * seed) for seed in range(5)},
        "worse": {seed: points(0.2, 0.3, 0.5) for seed in range(5)},
    }


def test_what_is_found_is_worked_by_hand() -> None:
    found = {each.strategy: each for each in findings(runs())}
    ours = found["ours"]
    assert ours.share == pytest.approx(8 / 12) and ours.share_low == ours.share_high == pytest.approx(8 / 12)
    assert ours.final.mean == pytest.approx(0.72)
    assert ours.gain.mean == pytest.approx((0.4 + 0.66) / 2 - 0.4) and ours.gain.low > 0
    assert ours.cl_gain.mean == pytest.approx(ours.gain.mean / 2)
    assert found["worse"].share == math.inf and found[REFERENCE].share == 1.0
    assert found[REFERENCE].gain.mean == 0 and ours.minutes == 30.0


def test_the_best_comes_first_and_never_is_said() -> None:
    text = table(findings(runs()))
    assert text.index("| ours") < text.index("| worse") and "never [never, never]" in text
    assert "| 67% [67%, 67%] |" in text


def test_json_has_no_numbers_that_are_none() -> None:
    assert [each["share"] for each in as_json(findings(runs()))] == [pytest.approx(8 / 12), 1.0, None]


def test_only_seeds_of_both_are_compared() -> None:
    known = runs()
    known["ours"] = {0: known["ours"][0], 9: known["ours"][1]}
    assert next(each.seeds for each in findings(known) if each.strategy == "ours") == 1


def test_without_the_reference_nothing_is_said() -> None:
    with pytest.raises(ValueError, match="did not run"):
        findings({"ours": runs()["ours"]})
