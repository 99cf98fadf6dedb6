"""Done ahead while nobody asks, never in the way of who does, and dropped when something newer is wanted."""

import threading
from functools import partial

from lib.tasks.click.prefetch import Prefetch

SECONDS = 10


def test_it_is_done_in_order_while_nobody_asks() -> None:
    prefetch, done, finished = Prefetch(), [], threading.Event()
    prefetch.want([partial(done.append, index) for index in range(4)] + [finished.set])
    assert finished.wait(SECONDS) and done == [0, 1, 2, 3]


def test_nothing_begins_during_a_request() -> None:
    prefetch, begun = Prefetch(), threading.Event()
    with prefetch.first():
        prefetch.want([begun.set])
        assert not begun.wait(0.2)
    assert begun.wait(SECONDS)


def test_a_request_waits_for_no_more_than_the_step_at_work() -> None:
    prefetch, begun, go, second = Prefetch(), threading.Event(), threading.Event(), threading.Event()

    def step() -> None:
        begun.set()
        go.wait()

    prefetch.want([step, second.set])
    assert begun.wait(SECONDS)
    with prefetch.first():
        go.set()
        assert not second.wait(0.2), "the next step waits until the request is answered"
    assert second.wait(SECONDS)


def test_something_newer_takes_the_place_of_what_was_wanted() -> None:
    prefetch, old, new = Prefetch(), threading.Event(), threading.Event()
    with prefetch.first():
        prefetch.want([old.set])
        prefetch.want([new.set])
    assert new.wait(SECONDS) and not old.wait(0.1)


def test_a_step_that_fails_harms_nobody() -> None:
    prefetch, after = Prefetch(), threading.Event()
    prefetch.want([lambda: 1 // 0, after.set])
    assert after.wait(SECONDS)


def test_at_the_end_the_step_at_work_is_waited_for_and_no_other_begins() -> None:
    prefetch, begun, go, done, second = Prefetch(), threading.Event(), threading.Event(), [], threading.Event()

    def step() -> None:
        begun.set()
        go.wait()
        done.append(1)

    prefetch.want([step, second.set])
    assert begun.wait(SECONDS)
    threading.Timer(0.05, go.set).start()
    prefetch.end()
    assert done == [1] and not second.is_set()
