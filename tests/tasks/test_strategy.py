"""The random strategy: only what has no label, and a plain end."""

import time

import pytest

from lib.tasks.strategy import NOTHING_LEFT, RandomUnlabelled


class Store:
    """As much of a datastore as the strategy asks."""

    def __init__(self, served: dict[str, float]) -> None:
        self.served = served

    def get_unlabeled_images(self) -> list[str]:
        return list(self.served)

    def get_image_info(self, image: str) -> dict:
        return {"strategy": {"random": {"ts": self.served[image]}}}


def test_none_is_left() -> None:
    assert RandomUnlabelled()({}, Store({})) is None  # type: ignore[arg-type]
    assert NOTHING_LEFT["id"] == "" and "final label" in str(NOTHING_LEFT["message"])


def test_draws_every_study_in_the_end() -> None:
    store = Store({"a": 0, "b": 0, "c": 0})
    drawn = {RandomUnlabelled()({}, store)["id"] for _ in range(100)}  # type: ignore[arg-type, index]
    assert drawn == {"a", "b", "c"}


@pytest.mark.parametrize("ahead", [0, 60])
def test_a_study_served_just_now_is_drawn_if_alone(ahead: int) -> None:
    answer = RandomUnlabelled()({"strategy": "random"}, Store({"a": int(time.time()) + ahead}))  # type: ignore[arg-type]
    assert answer == {"id": "a", "remaining": 1}


def test_prefers_what_was_served_long_ago() -> None:
    now = int(time.time())
    store = Store({"fresh": now - 1, "old": now - 10_000})
    drawn = [RandomUnlabelled()({}, store)["id"] for _ in range(50)]  # type: ignore[arg-type, index]
    assert drawn.count("old") > 45
