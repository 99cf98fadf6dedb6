"""Turns at a device."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from lib.server.refusals import Refused
from lib.server.turns import Turns


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def test_one_at_a_time_first_come_first_served_and_told_how_long() -> None:
    order: list[int] = []
    at_once: list[int] = []

    async def all_of_them() -> list[float]:
        turns = Turns("x", at_once=1, waiting=8)

        def work(number: int, waited: float) -> float:
            at_once.append(turns.running)
            order.append(number)
            time.sleep(0.05)
            return waited

        return await asyncio.gather(*[turns.run(lambda waited, n=n: work(n, waited)) for n in range(4)])

    waits = run(all_of_them)
    assert order == [0, 1, 2, 3] and set(at_once) == {1}
    assert waits[0] < 0.04 and waits[3] > 0.14 and waits == sorted(waits)


def test_who_comes_to_a_full_queue_is_told_when_to_come_again() -> None:
    async def too_many() -> list[Any]:
        turns = Turns("images", at_once=1, waiting=2)
        asked = [turns.run(lambda _: time.sleep(0.05)) for _ in range(4)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert (turns.running, turns.waiting) == (0, 0)
        return [*results, await turns.run(lambda _: "again")]

    *first, last, again = run(too_many)
    assert first == [None, None, None] and again == "again"
    assert isinstance(last, Refused) and (last.status, last.body["code"]) == (503, "BUSY")
    assert int(last.headers["Retry-After"]) >= 1


def test_a_failure_gives_the_turn_back() -> None:
    async def failing() -> str:
        turns = Turns("x", at_once=1, waiting=0)
        with pytest.raises(KeyError):
            await turns.run(lambda _: {}["no"])
        return await turns.run(lambda _: "next")

    assert run(failing) == "next"


def test_nobody_waits_for_it_and_it_is_not_done() -> None:
    async def left() -> bool:
        return True

    async def asked() -> None:
        with pytest.raises(Refused, match="NOBODY_WAITS"):
            await Turns("x", at_once=1, waiting=0).run(lambda _: pytest.fail("it was done"), left)

    run(asked)


def test_a_cancelled_wait_leaves_the_queue() -> None:
    async def cancelled() -> tuple[int, int]:
        turns, go = Turns("x", at_once=1, waiting=1), threading.Event()
        first = asyncio.create_task(turns.run(lambda _: go.wait(5)))
        second = asyncio.create_task(turns.run(lambda _: None))
        await asyncio.sleep(0.02)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        waiting = turns.waiting
        go.set()
        await first
        return waiting, turns.running

    assert run(cancelled) == (0, 0)
