"""Prefetch steps run only while no request is being answered, and newer steps replace older ones."""

import threading
from functools import partial

from lib.tasks.click.prefetch import Prefetch

SECONDS = 10


def test_steps_run_in_order_while_no_request_is_answered() -> None:
    prefetch, done, finished = Prefetch(), [], threading.Event()
    prefetch.schedule([partial(done.append, index) for index in range(4)] + [finished.set])
    assert finished.wait(SECONDS) and done == [0, 1, 2, 3]


def test_no_step_starts_during_a_request() -> None:
    prefetch, begun = Prefetch(), threading.Event()
    with prefetch.paused():
        prefetch.schedule([begun.set])
        assert not begun.wait(0.2)
    assert begun.wait(SECONDS)


def test_a_request_waits_at_most_for_the_running_step() -> None:
    prefetch, begun, go, second = Prefetch(), threading.Event(), threading.Event(), threading.Event()

    def step() -> None:
        begun.set()
        go.wait()

    prefetch.schedule([step, second.set])
    assert begun.wait(SECONDS)
    with prefetch.paused():
        go.set()
        assert not second.wait(0.2), "the next step waits until the request is answered"
    assert second.wait(SECONDS)


def test_newly_scheduled_steps_replace_the_old_ones() -> None:
    prefetch, old, new = Prefetch(), threading.Event(), threading.Event()
    with prefetch.paused():
        prefetch.schedule([old.set])
        prefetch.schedule([new.set])
    assert new.wait(SECONDS) and not old.wait(0.1)


def test_a_failing_step_does_not_stop_the_next() -> None:
    prefetch, after = Prefetch(), threading.Event()
    prefetch.schedule([lambda: 1 // 0, after.set])
    assert after.wait(SECONDS)


def test_stop_waits_for_the_running_step_and_starts_no_other() -> None:
    prefetch, begun, go, done, second = Prefetch(), threading.Event(), threading.Event(), [], threading.Event()

    def step() -> None:
        begun.set()
        go.wait()
        done.append(1)

    prefetch.schedule([step, second.set])
    assert begun.wait(SECONDS)
    threading.Timer(0.05, go.set).start()
    prefetch.stop()
    assert done == [1] and not second.is_set()
