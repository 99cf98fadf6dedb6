"""TopoLabel: an active-learning annotation server for medical images."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
"""Where this package lies, its apps and its sample data beside it."""
