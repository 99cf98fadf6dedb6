"""Facts about the machine of a measurement, and its memory."""

import ctypes
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.paths import ROOT


def describe_machine() -> dict[str, Any]:
    """Return device or processor, load, threads, versions, commit and date, JSON-safe."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 1),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip() or "none",
        "date": datetime.now(UTC).date().isoformat(),
    }


def retain_freed_memory() -> None:
    """Make the C library retain freed memory: page faults of new arrays would dominate the time of a fast kernel."""
    trim_threshold, mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, (1 << 31) - 1)


def peak_mib() -> float:
    """Return the peak memory of this process in MiB, without that of its parent."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
