"""What a figure was measured on, and where it is kept."""

import ctypes
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """Return processor or device, how busy it is, threads, versions and commit."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
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


def keep_memory() -> None:
    """Have the C library keep freed memory: page faults of fresh arrays would be most of what a fast kernel takes."""
    trim_threshold, mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, (1 << 31) - 1)


def peak_mib() -> float:
    """Return the most memory that this program has held; what its parent held does not count."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def keep(name: str, command: str, figures: dict[str, Any], table: str) -> None:
    """Print a table and write it, with its figures and what made them, to ``results/<name>.md`` and ``.json``."""
    made_by = {"command": command, **machine()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"made_by": made_by, **figures}, indent=1) + "\n")
    head = "\n".join(f"- {key}: {value}" for key, value in made_by.items())
    (RESULTS / f"{name}.md").write_text(f"# {name}\n\n{head}\n\n{table}\n")
    print(table)
