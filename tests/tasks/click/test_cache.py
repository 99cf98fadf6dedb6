"""One make per key, never more bytes than allowed, nothing of the past after a drop."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lib.tasks.click.cache import ENTRY_BYTES, Cache

KIB = 1024


def cache_of(entries: int) -> Cache[torch.Tensor]:
    return Cache(entries * (KIB + ENTRY_BYTES), lambda tensor: tensor.nbytes)


def kib() -> torch.Tensor:
    return torch.zeros(KIB // 4)


def test_eight_who_ask_at_once_wait_for_one_make() -> None:
    cache, made, all_here = cache_of(4), [], threading.Barrier(8)

    def make() -> torch.Tensor:
        made.append(1)
        threading.Event().wait(0.05)
        return kib()

    def ask() -> int:
        all_here.wait()
        return id(cache.keep("slice", make))

    with ThreadPoolExecutor(8) as pool:
        answers = {each.result() for each in [pool.submit(ask) for _ in range(8)]}
    assert len(made) == 1 and len(answers) == 1
    assert (cache.counts.made, cache.counts.hits, cache.counts.held) == (1, 7, 1)


def test_five_hundred_slices_stay_under_the_bound_and_the_newest_are_there() -> None:
    cache = cache_of(20)
    for index in range(500):
        cache.keep(index, kib)
        assert cache.counts.held_bytes <= cache.max_bytes
    assert cache.counts.held == 20 and 499 in cache and 480 in cache and 479 not in cache


def test_what_is_used_stays() -> None:
    cache = cache_of(2)
    for key in ("a", "b", "a", "c"):
        cache.keep(key, kib)
    assert "a" in cache and "c" in cache and "b" not in cache


def test_what_is_too_large_is_given_and_not_kept() -> None:
    cache = cache_of(2)
    cache.keep("small", kib)
    assert cache.keep("large", lambda: torch.zeros(8 * KIB)).numel() == 8 * KIB
    assert "large" not in cache and "small" in cache


def test_what_fails_is_tried_anew() -> None:
    cache = cache_of(2)
    with pytest.raises(ZeroDivisionError):
        cache.keep("a", lambda: torch.zeros(1 // 0))
    assert "a" not in cache and cache.keep("a", kib) is not None and cache.counts.made == 1


def test_all_who_wait_hear_of_a_failure() -> None:
    cache, begun, go = cache_of(2), threading.Event(), threading.Event()

    def fail() -> torch.Tensor:
        begun.set()
        go.wait()
        raise OSError("gone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.keep, "a", fail)
        begun.wait()
        second = pool.submit(cache.keep, "a", kib)
        go.set()
        assert isinstance(first.exception(), OSError)
        # Whoever came late waited for it, or found it gone and made it.
        assert second.exception() is None or isinstance(second.exception(), OSError)


def test_after_a_drop_nothing_of_before_is_kept() -> None:
    cache, begun, go = cache_of(4), threading.Event(), threading.Event()

    def slow() -> torch.Tensor:
        begun.set()
        go.wait()
        return kib()

    cache.keep("old", kib)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(cache.keep, "going on", slow)
        begun.wait()
        cache.drop()
        go.set()
        assert answer.result() is not None, "who waits is answered"
    assert "old" not in cache and "going on" not in cache and cache.counts.held_bytes == 0
