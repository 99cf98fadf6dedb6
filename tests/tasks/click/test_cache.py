"""The cache computes each value once, respects its size limit, and stores no old value after it is cleared."""

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


def test_eight_concurrent_requests_compute_a_value_once() -> None:
    cache, made, all_here = cache_of(4), [], threading.Barrier(8)

    def make() -> torch.Tensor:
        made.append(1)
        threading.Event().wait(0.05)
        return kib()

    def ask() -> int:
        all_here.wait()
        return id(cache.get_or_make("slice", make))

    with ThreadPoolExecutor(8) as pool:
        answers = {future.result() for future in [pool.submit(ask) for _ in range(8)]}
    assert len(made) == 1 and len(answers) == 1
    assert (cache.counts.made, cache.counts.hits, cache.counts.held) == (1, 7, 1)


def test_five_hundred_slices_stay_under_the_limit_and_the_newest_remain() -> None:
    cache = cache_of(20)
    for index in range(500):
        cache.get_or_make(index, kib)
        assert cache.counts.held_bytes <= cache.max_bytes
    assert cache.counts.held == 20 and 499 in cache and 480 in cache and 479 not in cache


def test_the_least_recently_used_value_is_evicted() -> None:
    cache = cache_of(2)
    for key in ("a", "b", "a", "c"):
        cache.get_or_make(key, kib)
    assert "a" in cache and "c" in cache and "b" not in cache


def test_a_value_above_the_limit_is_returned_but_not_stored() -> None:
    cache = cache_of(2)
    cache.get_or_make("small", kib)
    assert cache.get_or_make("large", lambda: torch.zeros(8 * KIB)).numel() == 8 * KIB
    assert "large" not in cache and "small" in cache


def test_a_failed_computation_is_repeated() -> None:
    cache = cache_of(2)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("a", lambda: torch.zeros(1 // 0))
    assert "a" not in cache and cache.get_or_make("a", kib) is not None and cache.counts.made == 1


def test_waiting_threads_get_the_exception() -> None:
    cache, begun, go = cache_of(2), threading.Event(), threading.Event()

    def fail() -> torch.Tensor:
        begun.set()
        go.wait()
        raise OSError("gone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_make, "a", fail)
        begun.wait()
        second = pool.submit(cache.get_or_make, "a", kib)
        go.set()
        assert isinstance(first.exception(), OSError)
        # The second thread either waited for the failed computation, or came after it and computed the value.
        assert second.exception() is None or isinstance(second.exception(), OSError)


def test_a_value_computed_during_a_clear_is_not_stored() -> None:
    cache, begun, go = cache_of(4), threading.Event(), threading.Event()

    def slow() -> torch.Tensor:
        begun.set()
        go.wait()
        return kib()

    cache.get_or_make("old", kib)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(cache.get_or_make, "running", slow)
        begun.wait()
        cache.clear()
        go.set()
        assert answer.result() is not None, "the waiting thread gets the value"
    assert "old" not in cache and "running" not in cache and cache.counts.held_bytes == 0
