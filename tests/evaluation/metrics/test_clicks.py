"""The simulated annotator: where it clicks, when it stops and which clicks are counted."""

import math

import numpy as np
import pytest

from lib.evaluation.metrics.clicks import (
    Click,
    Session,
    inner_points,
    innermost,
    next_click,
    simulate_session,
    summarise,
)

SHAPE = (20, 24)


def box(*edges: int) -> np.ndarray:
    """Return a mask of rows and columns, both ends included."""
    mask = np.zeros(SHAPE, bool)
    mask[edges[0] : edges[1] + 1, edges[2] : edges[3] + 1] = True
    return mask


NOTHING = np.zeros(SHAPE, bool)
TARGET = box(2, 6, 3, 7)  # 5 x 5


def test_the_first_click_is_at_the_centre_of_the_target() -> None:
    assert next_click(NOTHING, TARGET) == Click(4, 5, True)


def test_the_larger_error_gets_the_click() -> None:
    missing, false = box(2, 4, 3, 7), box(12, 16, 12, 16)  # 15 against 25
    assert next_click((TARGET & ~missing) | false, TARGET) == Click(14, 14, False)
    assert next_click((TARGET & ~missing) | box(12, 14, 12, 14), TARGET) == Click(3, 4, True)


def test_an_error_is_one_connected_region() -> None:
    """Two pieces of 9 pixels are smaller than one of 15; two pieces that touch at a corner are one piece of 18."""
    missing, apart, touching = box(2, 4, 3, 7), [(10, 12, 1, 3), (10, 12, 10, 12)], [(10, 12, 1, 3), (13, 15, 4, 6)]
    mask = TARGET & ~missing
    assert next_click(mask | box(*apart[0]) | box(*apart[1]), TARGET) == Click(3, 4, True)
    click = next_click(mask | box(*touching[0]) | box(*touching[1]), TARGET)
    assert click is not None and not click.foreground


def test_of_equal_errors_the_missing_object_gets_the_click() -> None:
    assert next_click(box(12, 16, 12, 16), TARGET) == Click(4, 5, True)


def test_correct_and_unknown_pixels_get_no_click() -> None:
    assert next_click(TARGET, TARGET) is None
    false = box(12, 16, 12, 16)
    assert next_click(TARGET | false, TARGET, valid=~false) is None
    # Half of the target is unknown: the click lies in the other half.
    assert next_click(NOTHING, box(2, 6, 3, 11), valid=~box(0, 19, 8, 23)) == Click(4, 5, True)


def test_random_clicks_spread_over_the_inner_half_and_follow_their_seed() -> None:
    target = box(2, 10, 3, 11)  # 9 x 9, 5 deep
    clicks = [next_click(NOTHING, target, rng=np.random.default_rng(seed)) for seed in range(60)]
    assert clicks == [next_click(NOTHING, target, rng=np.random.default_rng(seed)) for seed in range(60)]
    # At least 2.5 deep is 3 deep: the inner 5 x 5.
    assert {(c.row, c.column) for c in clicks if c} <= {(r, c) for r in range(4, 9) for c in range(5, 10)}
    assert len(set(clicks)) > 10


def test_the_border_of_the_image_is_a_border_of_the_region() -> None:
    assert innermost(np.ones((5, 9), bool)) == (2, 2)
    assert innermost(np.eye(1, dtype=bool)) == (0, 0)
    with pytest.raises(ValueError, match="empty"):
        innermost(NOTHING)


def test_inner_points_come_from_the_largest_parts_first() -> None:
    mask = box(0, 2, 0, 2) | TARGET.copy() & box(4, 6, 4, 7) | box(10, 18, 10, 18)
    assert inner_points(mask, 1) == [(14, 14)]
    assert inner_points(mask, 5)[0] == (14, 14) and len(inner_points(mask, 5)) == 3
    assert inner_points(NOTHING, 5) == []


def test_counts_of_one_session() -> None:
    session = Session(dice=(0.6, 0.92, 0.96), iou=(0.5, 0.85, 0.92))
    assert [session.clicks_to_reach(target) for target in (0.5, 0.85, 0.9, 0.95)] == [1, 2, 3, 3]
    assert [session.dice_after(clicks) for clicks in (1, 3, 10)] == [0.6, 0.96, 0.96]
    assert math.isnan(Session().dice_after(3))


def test_a_session_by_hand() -> None:
    """Each click returns a whole box: 25 of 34 pixels after the first click, all after the second."""
    small = box(12, 14, 12, 14)
    received = []

    def answer(clicks) -> np.ndarray:
        received.append(tuple(clicks))
        return np.any([part for part in (TARGET, small) for c in clicks if part[c.row, c.column]], axis=0)

    session = simulate_session(answer, TARGET | small)
    assert session.clicks == (Click(4, 5, True), Click(13, 13, True))
    assert session.dice == (pytest.approx(50 / 59), 1.0) and session.iou == (pytest.approx(25 / 34), 1.0)
    assert received == [session.clicks[:1], session.clicks]


def test_a_perfect_mask_ends_the_session_and_an_empty_one_uses_all_clicks() -> None:
    assert len(simulate_session(lambda _: TARGET, TARGET).clicks) == 1
    unresponsive = simulate_session(lambda _: NOTHING, TARGET, max_clicks=4)
    assert len(unresponsive.clicks) == 4 and unresponsive.dice == (0.0,) * 4
    assert simulate_session(lambda _: TARGET, NOTHING) == Session()


def test_unknown_pixels_are_not_scored() -> None:
    false = box(12, 16, 12, 16)
    session = simulate_session(lambda _: TARGET | false, TARGET, valid=~false)
    assert session.dice == (1.0,) and len(session.clicks) == 1


def test_the_same_seed_gives_the_same_session() -> None:
    def run(seed: int) -> Session:
        return simulate_session(lambda _: NOTHING, TARGET, rng=np.random.default_rng(seed))

    assert run(1) == run(1) and run(1) != run(2)


def test_means_over_objects() -> None:
    quick = Session(dice=(0.7, 0.95), iou=(0.5, 0.91))
    slow = Session(dice=(0.1,) * 9 + (0.9,), iou=(0.05,) * 9 + (0.86,))
    summary = summarise([quick, slow], max_clicks=10)
    assert summary.noc == {0.85: (2 + 10) / 2, 0.9: (2 + 10) / 2} and summary.failed == {0.85: 0.0, 0.9: 0.5}
    assert summary.dice == pytest.approx({1: 0.4, 3: 0.525, 5: 0.525, 10: 0.925}) and summary.objects == 2
    assert summarise([quick], max_clicks=3).dice.keys() == {1, 3}
    # A session that ends early below the target never reaches the target.
    assert summarise([Session(dice=(0.5,), iou=(0.4,))], max_clicks=10).noc[0.85] == 10
