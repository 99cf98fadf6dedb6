"""Priorities: jobs have a lower one than inference, and inference a lower one than HTTP handlers."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lib.tasks.serving.priority import INFERENCE_NICENESS, JOB_NICENESS, lower_process_priority, lower_thread_priority


def test_a_job_process_is_niced_and_uses_half_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, int] = {}
    monkeypatch.setattr(os, "nice", lambda step: calls.update(nice=step))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: calls.update(threads=count))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "environ", {})
    lower_process_priority()
    assert calls == {"nice": JOB_NICENESS, "threads": 4}
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "3"})
    calls.clear()
    lower_process_priority()
    assert "threads" not in calls, "the number was set in the environment"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness per thread")
def test_only_the_thread_is_niced_and_not_its_process() -> None:
    def niceness_of_thread() -> int:
        lower_thread_priority()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(niceness_of_thread).result() == min(before + INFERENCE_NICENESS, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_jobs_have_a_higher_niceness_than_inference() -> None:
    assert JOB_NICENESS > INFERENCE_NICENESS > 0
