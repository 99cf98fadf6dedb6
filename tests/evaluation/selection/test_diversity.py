"""Core-sets on a line and in a plane, in the order that a pencil finds."""

import numpy as np
import pytest

from lib.evaluation.selection.diversity import k_centre, suggestive

LINE = [[0.0], [1.0], [2.0], [9.0], [10.0]]


@pytest.mark.parametrize(
    ("centres", "order"),
    [
        # The mean is 4.4, 2 lies nearest; 10 is the farthest from it, then 0, and 1 and 9 are equally far.
        ([], [2, 4, 0, 1, 3]),
        ([[0.0]], [4, 2, 1, 3, 0]),  # 10; then 2; then 1 and 9, each 1 away; 0 is a centre itself
        ([[0.0], [10.0]], [2, 1, 3, 0, 4]),
        ([[5.0]], [0, 4, 2, 1, 3]),  # 0 and 10 are equally far: the first comes first
    ],
)
def test_on_a_line(centres: list[list[float]], order: list[int]) -> None:
    assert k_centre(LINE, centres) == order


def test_asked_one_by_one_it_is_the_same_batch() -> None:
    """What was given to somebody is a centre for the next who asks."""
    points = np.random.default_rng(0).normal(size=(30, 4))
    known = points[:3]
    batch = k_centre(points[3:], known)[:5]
    taken: list[int] = []
    for _ in range(5):
        left = [index for index in range(27) if index not in taken]
        # Standardised over the same cases, whoever of them is settled.
        first = k_centre(points[3:][left], np.concatenate([known, points[3:][taken]]))[0]
        taken.append(left[first])
    assert taken == batch


def test_no_unit_decides() -> None:
    points = np.random.default_rng(1).normal(size=(20, 2))
    assert k_centre(points) == k_centre(points * [1.0, 1e6])


def test_within_twice_the_best_radius() -> None:
    points = np.random.default_rng(2).uniform(size=(12, 2))
    chosen = k_centre(points / points.std(0))[:3]
    scaled = points / points.std(0)
    distances = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    best = min(
        distances[:, [a, b, c]].min(1).max() for a in range(12) for b in range(a) for c in range(b)
    )  # every set of three
    assert distances[:, chosen].min(1).max() <= 2 * best


def test_the_most_uncertain_come_first_and_lie_apart() -> None:
    rng = np.random.default_rng(0)
    vectors, scores = rng.normal(size=(48, 3)), rng.permutation(48).astype(float)
    order = suggestive(scores.tolist(), vectors)
    uncertain = sorted(range(48), key=lambda index: -scores[index])[:12]
    assert order[:12] == [uncertain[index] for index in k_centre(vectors[uncertain])] and set(order) == set(range(48))
    assert [scores[index] for index in order[12:]] == sorted(scores[order[12:]], reverse=True)
    few = suggestive(scores[:6].tolist(), vectors[:6])
    assert sorted(few, key=few.index) == few and sorted(few) == list(range(6))


@pytest.mark.parametrize("points", [np.zeros((0, 3)), []])
def test_nothing_to_order(points: object) -> None:
    assert k_centre(points) == [] and suggestive([], points) == []  # type: ignore[arg-type]


def test_equal_cases_are_all_ordered() -> None:
    assert sorted(k_centre(np.ones((4, 2)), np.ones((1, 2)))) == [0, 1, 2, 3]
