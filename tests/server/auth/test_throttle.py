"""Guesses are delayed longer and longer, a few typing errors are not, and no user can lock out a colleague at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.server.auth.access_denied import AccessDenied
from lib.server.auth.throttle import (
    FORGET_AFTER_S,
    FREE_PER_NAME_OR_ADDRESS,
    FREE_PER_PAIR,
    MAX_DELAY_S,
    MAX_ENTRIES,
    Throttle,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_of(throttle: Throttle, name: str = "anna", address: str = "10.0.0.1") -> int:
    """Return the seconds until the next attempt is allowed; 0 if the attempt was allowed and counted."""
    try:
        throttle.record_attempt(name, address)
    except AccessDenied as denied:
        assert denied.status == 429 and denied.body["code"] == "TOO_MANY_TRIES"
        return int(denied.headers["Retry-After"])
    return 0


def test_delays_double_up_to_a_quarter_of_an_hour() -> None:
    clock = Clock()
    throttle, waits = Throttle(clock), []
    while len(waits) < 14:
        if wait := wait_of(throttle):
            waits.append(wait)
            clock.now += wait
    assert waits[:4] == [2, 4, 8, 16] and waits[-1] == MAX_DELAY_S


def test_the_right_password_resets_the_delay() -> None:
    throttle = Throttle(Clock())
    for _ in range(50):
        assert wait_of(throttle) == 0
        throttle.record_success("anna", "10.0.0.1")


def test_another_address_is_not_locked_out_by_a_few_guesses() -> None:
    throttle = Throttle(Clock())
    while not wait_of(throttle, address="10.6.6.6"):
        pass
    assert wait_of(throttle, address="10.0.0.1") == 0


def test_many_addresses_guess_one_name_slowly_and_one_address_many_names() -> None:
    throttle = Throttle(Clock())
    waits = [wait_of(throttle, address=f"10.0.0.{i}") for i in range(FREE_PER_NAME_OR_ADDRESS + 2)]
    assert waits[:-1] == [0] * (FREE_PER_NAME_OR_ADDRESS + 1) and waits[-1] > 0
    throttle = Throttle(Clock())
    waits = [wait_of(throttle, name=f"user{i}") for i in range(FREE_PER_NAME_OR_ADDRESS + 2)]
    assert waits[:-1] == [0] * (FREE_PER_NAME_OR_ADDRESS + 1) and waits[-1] > 0


def test_signing_in_does_not_reset_guesses_at_other_accounts() -> None:
    throttle, tries = Throttle(Clock()), 0
    while not wait_of(throttle, name=f"victim{tries}"):
        tries += 1
        if wait_of(throttle, name="own"):
            break
        throttle.record_success("own", "10.0.0.1")
    assert tries <= FREE_PER_NAME_OR_ADDRESS + 1


def test_parallel_attempts_are_limited_too() -> None:
    throttle = Throttle(Clock())
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: wait_of(throttle), range(64)))
    assert waits.count(0) == FREE_PER_PAIR + 1


def test_failures_are_forgotten_and_bounded() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    while not wait_of(throttle):
        pass
    clock.now += FORGET_AFTER_S
    assert [wait_of(throttle) for _ in range(FREE_PER_PAIR)] == [0] * FREE_PER_PAIR
    for i in range(MAX_ENTRIES):
        wait_of(throttle, f"n{i}", f"a{i}")
    assert len(throttle._failures) == MAX_ENTRIES


@pytest.mark.parametrize("count", [1, FREE_PER_PAIR])
def test_a_few_typing_errors_cause_no_delay(count: int) -> None:
    throttle = Throttle(Clock())
    assert [wait_of(throttle) for _ in range(count)] == [0] * count
