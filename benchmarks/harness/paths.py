"""Folders that benchmarks read and write."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS, BUILD = ROOT / "benchmarks" / "results", ROOT / "build"
