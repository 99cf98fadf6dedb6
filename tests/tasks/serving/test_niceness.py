"""Who computes gives way: jobs to answers, answers to whoever only asks."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lib.tasks.serving.niceness import ANSWERS, JOBS, process_gives_way, thread_gives_way


def test_jobs_give_way_to_people(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, int] = {}
    monkeypatch.setattr(os, "nice", lambda step: said.update(nice=step))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: said.update(threads=count))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "environ", {})
    process_gives_way()
    assert said == {"nice": JOBS, "threads": 4}
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "3"})
    said.clear()
    process_gives_way()
    assert "threads" not in said, "somebody chose"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only processes have a niceness")
def test_a_thread_gives_way_and_its_process_does_not() -> None:
    def of_a_thread() -> int:
        thread_gives_way()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(of_a_thread).result() == min(before + ANSWERS, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_jobs_give_way_to_answers() -> None:
    assert JOBS > ANSWERS > 0
