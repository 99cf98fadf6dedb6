"""The scintigraphy app: what it serves stands in app.toml."""

import sys
from pathlib import Path

# MONAI Label puts only the app's folder on the path, and that only while this file loads.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.tasks.app import TopoLabelApp  # noqa: F401
