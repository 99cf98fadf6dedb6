"""Cases at work: one annotator each, whatever the clock does and however many ask at once."""

import threading
from pathlib import Path

import pytest

from lib.records.leases import Leases
from tests.clock import Clock

HOUR = 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(tmp_path: Path, clock: Clock) -> Leases:
    return Leases(tmp_path, HOUR, clock)


def test_a_case_is_with_one_annotator(leases: Leases) -> None:
    assert leases.offer("Anna", ["a", "b"]) == "a"
    assert leases.offer("Bert", ["a", "b"]) == "b"
    assert leases.offer("Cleo", ["a", "b"]) is None
    assert [(lease.image, lease.who) for lease in leases.held()] == [("a", "Anna"), ("b", "Bert")]


def test_who_asks_again_skips_and_comes_back_in_the_end(leases: Leases, clock: Clock) -> None:
    seen = []
    for _ in range(5):
        clock.now += 1
        seen.append(leases.offer("Anna", ["a", "b", "c"]))
    assert seen == ["a", "b", "c", "a", "b"]
    assert leases.offer("Bert", ["a", "b", "c"]) == "a", "what Anna skipped is free, and new to Bert"
    assert leases.offer("Anna", ["a", "b", "c"]) == "c"


def test_a_saved_case_is_free_of_everything(leases: Leases) -> None:
    leases.release("a")
    assert leases.offer("Anna", ["a"]) == "a"
    leases.release("a")
    assert leases.held() == []
    assert leases.offer("Anna", ["a", "b"]) == "a", "to be corrected, and it counts as never skipped"


def test_time_is_up_unless_somebody_works(leases: Leases, clock: Clock) -> None:
    leases.renew("a")
    assert leases.offer("Anna", ["a"]) == "a"
    clock.now += 0.5 * HOUR
    leases.renew("a")
    clock.now += 0.9 * HOUR
    assert leases.offer("Bert", ["a"]) is None
    clock.now += 0.2 * HOUR
    assert leases.held() == [] and leases.offer("Bert", ["a"]) == "a"


def test_looking_is_enough_for_most_signs_of_work(leases: Leases, clock: Clock) -> None:
    leases.offer("Anna", ["a"])
    clock.now += 0.05 * HOUR
    leases.renew("a")
    assert leases.held()[0].until == 1_000_000.0 + HOUR


def test_a_clock_that_is_set_back_frees_in_time_all_the_same(leases: Leases, clock: Clock) -> None:
    leases.offer("Anna", ["a"])
    clock.now -= 100 * HOUR
    assert leases.offer("Bert", ["a"]) is None, "Anna works on"
    clock.now += 1.01 * HOUR
    assert leases.offer("Bert", ["a"]) == "a"


def test_a_restart_knows_them(leases: Leases, tmp_path: Path, clock: Clock) -> None:
    leases.offer("Anna", ["a"])
    assert Leases(tmp_path, HOUR, clock).offer("Bert", ["a", "b"]) == "b"


def test_twenty_at_once_and_two_hundred_cases(leases: Leases) -> None:
    left, lock = {f"case_{number}" for number in range(200)}, threading.Lock()
    at_work: set[str] = set()
    twice: list[str] = []

    def work(who: str) -> None:
        while True:
            with lock:
                images = sorted(left)
            if not images:
                return
            case = leases.offer(who, images)
            if case is None:
                continue
            with lock:
                if case in at_work:
                    twice.append(case)
                at_work.add(case)
            with lock:
                at_work.discard(case)
                left.discard(case)
            leases.release(case)

    people = [threading.Thread(target=work, args=(f"annotator {number}",)) for number in range(20)]
    for person in people:
        person.start()
    for person in people:
        person.join(120)
    assert not left and not twice and leases.held() == []
