"""The most typical case of each cluster that has no taken case."""

import numpy as np
import pytest

from lib.evaluation.selection.typicality import ROUND, typical_cases, typicality


@pytest.fixture
def groups() -> np.ndarray:
    """Eight distant groups of 9, 8, ... 2 points on a line; the middle point of each odd group is its most typical."""
    return np.array([[100.0 * group + 0.1 * at, 0.0] for group in range(ROUND) for at in range(9 - group)])


def test_each_group_gives_one_case_and_the_largest_group_comes_first(groups: np.ndarray) -> None:
    chosen = typical_cases(groups)
    assert [int(groups[index, 0] // 100) for index in chosen] == list(range(ROUND))
    assert chosen[0] == 4, "the middle of nine evenly spaced points"
    assert typical_cases(groups) == chosen, "the same in every call"


def test_a_group_with_a_taken_case_is_covered(groups: np.ndarray) -> None:
    taken = [0, len(groups) - 1]
    assert [int(groups[index, 0] // 100) for index in typical_cases(groups, taken)] == list(range(1, ROUND - 1))


def test_cases_requested_one_by_one_form_the_same_batch(groups: np.ndarray) -> None:
    taken: list[int] = []
    while len(taken) < ROUND:
        taken.append(typical_cases(groups, taken)[0])
    assert taken == typical_cases(groups)


def test_the_second_round_has_finer_clusters(groups: np.ndarray) -> None:
    taken = typical_cases(groups)
    second = typical_cases(groups, taken)
    assert second and not set(second) & set(taken)


def test_typicality_is_the_inverse_mean_distance() -> None:
    np.testing.assert_allclose(typicality(np.array([[0.0], [1.0], [3.0]])), [1 / 2, 1 / 1.5, 1 / 2.5])
    np.testing.assert_allclose(typicality(np.zeros((1, 2))), [1])


@pytest.mark.parametrize(("points", "chosen"), [([], []), ([[1.0]], [0]), ([[1.0], [1.0], [1.0]], [0])])
def test_few_or_equal_cases(points: list, chosen: list) -> None:
    assert typical_cases(points) == chosen
