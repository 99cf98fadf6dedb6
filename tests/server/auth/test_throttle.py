"""Guesses wait longer and longer, people who mistype hardly, and nobody can lock out a colleague at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.server.auth.denied import Denied
from lib.server.auth.throttle import FORGOTTEN_S, FREE_OF_A_PAIR, FREE_OF_ONE, MAX_DELAY_S, MAX_KEPT, Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_of(throttle: Throttle, name: str = "anna", address: str = "10.0.0.1") -> int:
    """Return the seconds that the next try must wait; 0 if it was let through, and counted."""
    try:
        throttle.begin(name, address)
    except Denied as denied:
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


def test_the_right_password_makes_it_all_good() -> None:
    throttle = Throttle(Clock())
    for _ in range(50):
        assert wait_of(throttle) == 0
        throttle.succeeded("anna", "10.0.0.1")


def test_another_address_is_not_locked_out_by_a_few_guesses() -> None:
    throttle = Throttle(Clock())
    while not wait_of(throttle, address="10.6.6.6"):
        pass
    assert wait_of(throttle, address="10.0.0.1") == 0


def test_many_addresses_guess_one_name_slowly_and_one_address_many_names() -> None:
    throttle = Throttle(Clock())
    waits = [wait_of(throttle, address=f"10.0.0.{i}") for i in range(FREE_OF_ONE + 2)]
    assert waits[:-1] == [0] * (FREE_OF_ONE + 1) and waits[-1] > 0
    throttle = Throttle(Clock())
    waits = [wait_of(throttle, name=f"user{i}") for i in range(FREE_OF_ONE + 2)]
    assert waits[:-1] == [0] * (FREE_OF_ONE + 1) and waits[-1] > 0


def test_an_own_account_does_not_buy_guesses_at_others() -> None:
    throttle, tries = Throttle(Clock()), 0
    while not wait_of(throttle, name=f"victim{tries}"):
        tries += 1
        if wait_of(throttle, name="own"):
            break
        throttle.succeeded("own", "10.0.0.1")
    assert tries <= FREE_OF_ONE + 1


def test_tries_at_the_same_moment_do_not_slip_through() -> None:
    throttle = Throttle(Clock())
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: wait_of(throttle), range(64)))
    assert waits.count(0) == FREE_OF_A_PAIR + 1


def test_failures_are_forgotten_and_bounded() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    while not wait_of(throttle):
        pass
    clock.now += FORGOTTEN_S
    assert [wait_of(throttle) for _ in range(FREE_OF_A_PAIR)] == [0] * FREE_OF_A_PAIR
    for i in range(MAX_KEPT):
        wait_of(throttle, f"n{i}", f"a{i}")
    assert len(throttle._failures) == MAX_KEPT


@pytest.mark.parametrize("count", [1, FREE_OF_A_PAIR])
def test_mistyping_costs_no_time(count: int) -> None:
    throttle = Throttle(Clock())
    assert [wait_of(throttle) for _ in range(count)] == [0] * count
