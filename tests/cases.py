"""Small inputs with known faults, written by scripts beside the project, and the real data there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CASES = Path(os.environ.get("TOPOLABEL_CASES", ROOT.parent / "shared" / "cases"))
"""Folder of the scripts."""
DATA = Path(os.environ.get("TOPOLABEL_DATA", ROOT.parent / "shared" / "data"))
"""Folder of the real data."""


def write_cases(name: str, folder: Path, *arguments: str) -> Path:
    """Write the files of a script to a folder and return the folder; skip the test without the script."""
    script = CASES / f"{name}.py"
    if not script.is_file():
        pytest.skip(f"{script} is absent: TOPOLABEL_CASES names the folder of the cases")
    subprocess.run([sys.executable, str(script), str(folder), *arguments], check=True, capture_output=True)
    return folder


def real_data(name: str) -> Path:
    """Return a file or folder of the real data; skip the test without it."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent: TOPOLABEL_DATA names the folder of the real data")
    return path
