"""The airway app; app.toml declares what it serves."""

import sys
from pathlib import Path

# MONAI Label adds only the app's folder to the path, and only while it loads this file.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.tasks.app import TopoLabelApp  # noqa: F401
