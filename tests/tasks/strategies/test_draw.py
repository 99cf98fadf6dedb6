"""Draws: by waiting time, by weight, and the same again from a seed."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from lib.records.leases import Leases
from lib.tasks.strategies.draw import RandomUnlabelled, drawn, generator

IMAGES = [f"ct_{number}" for number in range(8)]


class Store:
    """As much of a datastore as a draw asks."""

    def get_image_info(self, image: str) -> dict:
        return {"strategy": {"random": {"ts": int(time.time()) - 1}}}


@pytest.fixture
def strategy(tmp_path: Path) -> RandomUnlabelled:
    return RandomUnlabelled(Leases(tmp_path, 60.0))


def test_a_seed_draws_the_same_again_whenever_studies_were_served(strategy: RandomUnlabelled) -> None:
    orders = [strategy.ranked(IMAGES, {"seed": seed}, Store()) for seed in (1, 1, 2)]  # type: ignore[arg-type]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == IMAGES


def test_a_seed_draws_anew_once_a_study_is_done(strategy: RandomUnlabelled) -> None:
    """Else one seed for a whole simulation would draw the same class in every round."""
    asked = [generator({"seed": 1}, IMAGES[:count]).random() for count in (8, 8, 7)]
    assert asked[0] == asked[1] != asked[2]


def test_draws_by_weight() -> None:
    rng = random.Random(0)
    first = Counter(drawn("abc", {"a": 3.0, "b": 1.0, "c": 0.0}, rng)[0] for _ in range(4000))
    assert first["a"] / first["b"] == pytest.approx(3, rel=0.15) and first["c"] == 0
    assert {drawn("abcd", {"c": 0.0, "d": 0.0}, rng)[2] for _ in range(50)} == {"c", "d"}


def test_without_weights_all_are_alike() -> None:
    first = Counter(drawn("abcd", {}, random.Random(seed))[0] for seed in range(4000))
    assert all(first[image] == pytest.approx(1000, rel=0.12) for image in "abcd")
