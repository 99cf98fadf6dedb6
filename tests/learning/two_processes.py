"""Run a script as two processes of a torchrun launch, on the CPU with gloo."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]


def run_two_processes(script: str, folder: Path, *arguments: str, timeout_s: float = 240) -> list[dict[str, Any]]:
    """Run a script that writes ``FOLDER/RANK.pt``, and return both files.

    Args:
        script: Source of the script; its first argument is the folder.
        folder: Empty folder.
        arguments: Further arguments of the script.
        timeout_s: Time after which the test fails: a process that waits for the other waits for half an hour.
    """
    (folder / "script.py").write_text(script)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    command = [*launch, str(folder / "script.py"), str(folder), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
