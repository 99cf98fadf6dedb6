"""Run inference and jobs at a lower priority than HTTP handlers."""

import os
import sys
import threading

import torch

INFERENCE_NICENESS, JOB_NICENESS = 5, 10
"""Niceness of inference threads, for whose result a user waits, and of background jobs. With five steps more, a thread
gets a third of a core that both compete for."""


def lower_thread_priority() -> None:
    """Raise the niceness of this thread and of threads that it starts; only Linux has a niceness per thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + INFERENCE_NICENESS)


def lower_process_priority() -> None:
    """Raise the niceness of this process, and limit torch to half of the cores."""
    os.nice(JOB_NICENESS)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
