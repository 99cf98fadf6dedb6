"""The bounded executor."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from lib.server.bounded_executor import BoundedExecutor
from lib.server.refusals import Refused


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def test_work_runs_in_order_and_gets_its_waiting_time() -> None:
    order: list[int] = []
    at_once: list[int] = []

    async def all_of_them() -> list[float]:
        executor = BoundedExecutor("x", at_once=1, waiting=8)

        def work(number: int, waited: float) -> float:
            at_once.append(executor.running)
            order.append(number)
            time.sleep(0.05)
            return waited

        return await asyncio.gather(*[executor.run(lambda waited, n=n: work(n, waited)) for n in range(4)])

    waits = run(all_of_them)
    assert order == [0, 1, 2, 3] and set(at_once) == {1}
    assert waits[0] < 0.04 and waits[3] > 0.14 and waits == sorted(waits)


def test_a_full_queue_refuses_with_a_time_to_retry() -> None:
    async def five_requests() -> list[Any]:
        executor = BoundedExecutor("images", at_once=1, waiting=2)
        requests = [executor.run(lambda _: time.sleep(0.05)) for _ in range(4)]
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert (executor.running, executor.waiting) == (0, 0)
        return [*results, await executor.run(lambda _: "again")]

    *first, last, again = run(five_requests)
    assert first == [None, None, None] and again == "again"
    assert isinstance(last, Refused) and (last.status, last.body["code"]) == (503, "BUSY")
    assert int(last.headers["Retry-After"]) >= 1


def test_a_failure_frees_its_thread() -> None:
    async def failing() -> str:
        executor = BoundedExecutor("x", at_once=1, waiting=0)
        with pytest.raises(KeyError):
            await executor.run(lambda _: {}["no"])
        return await executor.run(lambda _: "next")

    assert run(failing) == "next"


def test_work_of_a_disconnected_client_is_not_started() -> None:
    async def left() -> bool:
        return True

    async def disconnected() -> None:
        with pytest.raises(Refused, match="NOBODY_WAITS"):
            await BoundedExecutor("x", at_once=1, waiting=0).run(lambda _: pytest.fail("the work was started"), left)

    run(disconnected)


def test_a_cancelled_wait_leaves_the_queue() -> None:
    async def cancelled() -> tuple[int, int]:
        executor, go = BoundedExecutor("x", at_once=1, waiting=1), threading.Event()
        first = asyncio.create_task(executor.run(lambda _: go.wait(5)))
        second = asyncio.create_task(executor.run(lambda _: None))
        await asyncio.sleep(0.02)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        waiting = executor.waiting
        go.set()
        await first
        return waiting, executor.running

    assert run(cancelled) == (0, 0)
