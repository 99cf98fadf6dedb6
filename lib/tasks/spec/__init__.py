"""The specification of an app: `app.toml` read into frozen dataclasses."""

from lib.data.files.tables import SpecError
from lib.tasks.spec.app import COLD_START, RANDOM, SCORED, AppSpec, load_app, read_app, scored_strategies
from lib.tasks.spec.kinds import CLICK, RESTORATION, SEGMENTATION, require_kind
from lib.tasks.spec.task import TaskSpec

__all__ = [
    "CLICK",
    "COLD_START",
    "RANDOM",
    "RESTORATION",
    "SCORED",
    "SEGMENTATION",
    "AppSpec",
    "SpecError",
    "TaskSpec",
    "load_app",
    "read_app",
    "require_kind",
    "scored_strategies",
]
