"""Fixtures: an empty ledger, and processes that write to one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.records.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "records")


@pytest.fixture
def run_writers() -> Callable[..., None]:
    """Return a function that runs a scenario of ``tests/records/writers.py`` in a separate process."""

    def run(name: str, folder: Path, *arguments: int) -> None:
        command = [sys.executable, "-m", "tests.records.writers", name, str(folder), json.dumps(arguments)]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=120)

    return run
