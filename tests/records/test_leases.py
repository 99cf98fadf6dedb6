"""Leases: a case has one annotator at a time, even if the clock is set back or many ask at the same time."""

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


def test_a_case_is_leased_to_one_annotator(leases: Leases) -> None:
    assert leases.lease_next("Anna", ["a", "b"]) == "a"
    assert leases.lease_next("Bert", ["a", "b"]) == "b"
    assert leases.lease_next("Cleo", ["a", "b"]) is None
    assert [(lease.image, lease.who) for lease in leases.list_active()] == [("a", "Anna"), ("b", "Bert")]


def test_asking_again_skips_the_case_and_skipped_cases_come_last(leases: Leases, clock: Clock) -> None:
    seen = []
    for _ in range(5):
        clock.now += 1
        seen.append(leases.lease_next("Anna", ["a", "b", "c"]))
    assert seen == ["a", "b", "c", "a", "b"]
    assert leases.lease_next("Bert", ["a", "b", "c"]) == "a", (
        "a case that Anna skipped is free, and Bert has not skipped it"
    )
    assert leases.lease_next("Anna", ["a", "b", "c"]) == "c"


def test_a_saved_case_has_no_lease_and_counts_as_never_skipped(leases: Leases) -> None:
    leases.release("a")
    assert leases.lease_next("Anna", ["a"]) == "a"
    leases.release("a")
    assert leases.list_active() == []
    assert leases.lease_next("Anna", ["a", "b"]) == "a", (
        "a saved case can be leased again, and it counts as never skipped"
    )


def test_a_lease_times_out_unless_it_is_renewed(leases: Leases, clock: Clock) -> None:
    leases.renew("a")
    assert leases.lease_next("Anna", ["a"]) == "a"
    clock.now += 0.5 * HOUR
    leases.renew("a")
    clock.now += 0.9 * HOUR
    assert leases.lease_next("Bert", ["a"]) is None
    clock.now += 0.2 * HOUR
    assert leases.list_active() == [] and leases.lease_next("Bert", ["a"]) == "a"


def test_a_lease_is_renewed_only_after_a_tenth_of_its_time(leases: Leases, clock: Clock) -> None:
    leases.lease_next("Anna", ["a"])
    clock.now += 0.05 * HOUR
    leases.renew("a")
    assert leases.list_active()[0].until == 1_000_000.0 + HOUR


def test_a_lease_times_out_even_if_the_clock_is_set_back(leases: Leases, clock: Clock) -> None:
    leases.lease_next("Anna", ["a"])
    clock.now -= 100 * HOUR
    assert leases.lease_next("Bert", ["a"]) is None, "Anna still has the lease"
    clock.now += 1.01 * HOUR
    assert leases.lease_next("Bert", ["a"]) == "a"


def test_leases_survive_a_restart(leases: Leases, tmp_path: Path, clock: Clock) -> None:
    leases.lease_next("Anna", ["a"])
    assert Leases(tmp_path, HOUR, clock).lease_next("Bert", ["a", "b"]) == "b"


def test_twenty_annotators_at_once_never_share_one_of_two_hundred_cases(leases: Leases) -> None:
    unlabelled, lock = {f"case_{number}" for number in range(200)}, threading.Lock()
    at_work: set[str] = set()
    leased_twice: list[str] = []

    def work(who: str) -> None:
        while True:
            with lock:
                images = sorted(unlabelled)
            if not images:
                return
            case = leases.lease_next(who, images)
            if case is None:
                continue
            with lock:
                if case in at_work:
                    leased_twice.append(case)
                at_work.add(case)
            with lock:
                at_work.discard(case)
                unlabelled.discard(case)
            leases.release(case)

    annotators = [threading.Thread(target=work, args=(f"annotator {number}",)) for number in range(20)]
    for annotator in annotators:
        annotator.start()
    for annotator in annotators:
        annotator.join(120)
    assert not unlabelled and not leased_twice and leases.list_active() == []
