"""Whoever computes gives way to whoever answers: what the kernel is told of threads and processes."""

import os
import sys
import threading

import torch

ANSWERS, JOBS = 5, 10
"""Niceness of threads that compute what somebody waits for, and of jobs, which nobody does: five steps more are a third
of the processor where both want all of it."""


def thread_gives_way() -> None:
    """Have the kernel prefer others to this thread and to those that it starts; on Linux threads have a niceness."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + ANSWERS)


def process_gives_way() -> None:
    """Let this process run only where nobody waits for an answer, and leave half the cores free of it."""
    os.nice(JOBS)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
