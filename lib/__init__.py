"""TopoLabel: an active-learning annotation server for medical images."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
"""Root folder of the repository: it holds this package, `apps` and `sample-data`."""
