"""Fixtures: a queue, and workers that the tests start and kill."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.jobs.queue.broker import Queue
from tests.jobs.queue.processes import Process, start_worker


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Return a function that starts a worker; all workers are killed after the test."""
    started: list[Process] = []

    def start() -> Process:
        started.append(start_worker(tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
