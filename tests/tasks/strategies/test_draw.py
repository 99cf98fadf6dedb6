"""Random draws: by waiting time, by weight, and reproducible with a seed."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from lib.records.leases import Leases
from lib.tasks.strategies.draw import RandomUnlabelled, draw_by_weight, request_rng

IMAGES = [f"ct_{number}" for number in range(8)]


class Store:
    """The part of a datastore that a draw uses."""

    def get_image_info(self, image: str) -> dict:
        return {"strategy": {"random": {"ts": int(time.time()) - 1}}}


@pytest.fixture
def strategy(tmp_path: Path) -> RandomUnlabelled:
    return RandomUnlabelled(Leases(tmp_path, 60.0))


def test_a_seed_gives_the_same_draw_whatever_was_offered_before(strategy: RandomUnlabelled) -> None:
    orders = [strategy.ranked(IMAGES, {"seed": seed}, Store()) for seed in (1, 1, 2)]  # type: ignore[arg-type]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == IMAGES


def test_a_seed_gives_another_draw_once_a_study_is_labelled(strategy: RandomUnlabelled) -> None:
    """Otherwise a simulation with one seed would draw the same class in every round."""
    draws = [request_rng({"seed": 1}, IMAGES[:count]).random() for count in (8, 8, 7)]
    assert draws[0] == draws[1] != draws[2]


def test_draws_follow_the_weights() -> None:
    rng = random.Random(0)
    first = Counter(draw_by_weight("abc", {"a": 3.0, "b": 1.0, "c": 0.0}, rng)[0] for _ in range(4000))
    assert first["a"] / first["b"] == pytest.approx(3, rel=0.15) and first["c"] == 0
    assert {draw_by_weight("abcd", {"c": 0.0, "d": 0.0}, rng)[2] for _ in range(50)} == {"c", "d"}


def test_without_weights_all_studies_are_equally_likely() -> None:
    first = Counter(draw_by_weight("abcd", {}, random.Random(seed))[0] for seed in range(4000))
    assert all(first[image] == pytest.approx(1000, rel=0.12) for image in "abcd")
