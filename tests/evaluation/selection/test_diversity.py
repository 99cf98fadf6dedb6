"""K-centre orders on a line and in a plane agree with orders found by hand."""

import numpy as np
import pytest

from lib.evaluation.selection.diversity import k_centre, suggestive_annotation

LINE = [[0.0], [1.0], [2.0], [9.0], [10.0]]


@pytest.mark.parametrize(
    ("centres", "order"),
    [
        # The mean is 4.4 and the nearest value is 2; the farthest from 2 is 10, then 0; 1 and 9 are equally far.
        ([], [2, 4, 0, 1, 3]),
        ([[0.0]], [4, 2, 1, 3, 0]),  # 10, then 2, then 1 and 9 at distance 1; 0 is a centre itself
        ([[0.0], [10.0]], [2, 1, 3, 0, 4]),
        ([[5.0]], [0, 4, 2, 1, 3]),  # 0 and 10 are equally far: the lower index comes first
    ],
)
def test_order_on_a_line(centres: list[list[float]], order: list[int]) -> None:
    assert k_centre(LINE, centres) == order


def test_single_requests_give_the_same_order_as_one_batch() -> None:
    """A case that was assigned to an annotator is a centre for the next request."""
    points = np.random.default_rng(0).normal(size=(30, 4))
    known = points[:3]
    batch = k_centre(points[3:], known)[:5]
    taken: list[int] = []
    for _ in range(5):
        left = [index for index in range(27) if index not in taken]
        # The standardisation covers the same cases, assigned or not.
        first = k_centre(points[3:][left], np.concatenate([known, points[3:][taken]]))[0]
        taken.append(left[first])
    assert taken == batch


def test_the_order_does_not_depend_on_units() -> None:
    points = np.random.default_rng(1).normal(size=(20, 2))
    assert k_centre(points) == k_centre(points * [1.0, 1e6])


def test_the_radius_is_within_twice_the_best() -> None:
    points = np.random.default_rng(2).uniform(size=(12, 2))
    chosen = k_centre(points / points.std(0))[:3]
    scaled = points / points.std(0)
    distances = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    best = min(
        distances[:, [a, b, c]].min(1).max() for a in range(12) for b in range(a) for c in range(b)
    )  # all sets of three
    assert distances[:, chosen].min(1).max() <= 2 * best


def test_the_most_uncertain_cases_come_first_in_k_centre_order() -> None:
    rng = np.random.default_rng(0)
    vectors, scores = rng.normal(size=(48, 3)), rng.permutation(48).astype(float)
    order = suggestive_annotation(scores.tolist(), vectors)
    uncertain = sorted(range(48), key=lambda index: -scores[index])[:12]
    assert order[:12] == [uncertain[index] for index in k_centre(vectors[uncertain])] and set(order) == set(range(48))
    assert [scores[index] for index in order[12:]] == sorted(scores[order[12:]], reverse=True)
    few = suggestive_annotation(scores[:6].tolist(), vectors[:6])
    assert sorted(few, key=few.index) == few and sorted(few) == list(range(6))


@pytest.mark.parametrize("points", [np.zeros((0, 3)), []])
def test_no_cases_give_an_empty_order(points: object) -> None:
    assert k_centre(points) == [] and suggestive_annotation([], points) == []  # type: ignore[arg-type]


def test_equal_cases_are_all_ordered() -> None:
    assert sorted(k_centre(np.ones((4, 2)), np.ones((1, 2)))) == [0, 1, 2, 3]
