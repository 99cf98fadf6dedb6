"""The next study has no final label, is not leased to another annotator, and follows the strategy's order."""

import time
from pathlib import Path
from typing import Any

import pytest

from lib.records.database import LedgerUnavailable
from lib.records.leases import Leases
from lib.tasks.strategies.draw import RandomUnlabelled
from lib.tasks.strategies.leasing import no_study_answer


class Store:
    """The part of a datastore that the strategy uses."""

    def __init__(self, served: dict[str, float]) -> None:
        self.served = served

    def get_unlabeled_images(self) -> list[str]:
        return list(self.served)

    def get_image_info(self, image: str) -> dict:
        return {"strategy": {"random": {"ts": self.served.get(image, 0)}}}


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path, 60.0)


def ask(strategy: RandomUnlabelled, store: Store, annotator: str = "Anna") -> Any:
    return strategy({"strategy": "random", "client_id": annotator}, store)  # type: ignore[arg-type]


def test_no_study_is_left(leases: Leases) -> None:
    assert ask(RandomUnlabelled(leases), Store({})) is None
    answer = no_study_answer(0, leases)
    assert (answer["id"], answer["remaining"]) == ("", 0) and "final label" in answer["message"]


def test_all_studies_are_leased_to_others(leases: Leases) -> None:
    strategy, store = RandomUnlabelled(leases), Store({"a": 0, "b": 0})
    assert {ask(strategy, store, annotator)["id"] for annotator in ("Anna", "Bert")} == {"a", "b"}
    assert ask(strategy, store, "Cleo") is None
    answer = no_study_answer(2, leases)
    assert (answer["id"], answer["remaining"]) == ("", 2) and "with other annotators; the first" in answer["message"]


def test_one_annotator_is_offered_every_study(leases: Leases) -> None:
    strategy, store = RandomUnlabelled(leases), Store({"a": 0, "b": 0, "c": 0})
    assert {ask(strategy, store)["id"] for _ in range(3)} == {"a", "b", "c"}


@pytest.mark.parametrize("ahead", [0, 60])
def test_a_study_offered_just_now_is_offered_again_if_it_is_the_only_one(leases: Leases, ahead: int) -> None:
    answer = ask(RandomUnlabelled(leases), Store({"a": int(time.time()) + ahead}))
    assert answer == {"id": "a", "remaining": 1}


def test_studies_offered_long_ago_are_preferred(leases: Leases) -> None:
    now = int(time.time())
    store = Store({"fresh": now - 1, "old": now - 10_000})
    orders = [RandomUnlabelled(leases).ranked(["fresh", "old"], {}, store) for _ in range(50)]  # type: ignore[arg-type]
    assert sum(order[0] == "old" for order in orders) > 45


def test_a_study_labelled_before_its_lease_is_not_offered(leases: Leases) -> None:
    class Racing(Store):
        def get_image_info(self, image: str) -> dict:
            self.served.pop("a", None)
            return super().get_image_info(image)

    assert ask(RandomUnlabelled(leases), Racing({"a": 0})) is None and leases.list_active() == []
    assert ask(RandomUnlabelled(leases), Racing({"a": 0, "b": 0}))["id"] == "b"


def test_a_full_disk_does_not_stop_the_offer(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise LedgerUnavailable(28, "the leases cannot be written")

    monkeypatch.setattr(leases, "lease_next", full)
    assert ask(RandomUnlabelled(leases), Store({"a": 0})) == {"id": "a", "remaining": 1}
