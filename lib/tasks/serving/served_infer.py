"""What every infer task of an app has in common: how it is listed, what it is served with, when it lets go."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from monailabel.interfaces.tasks.infer_v2 import InferTask

from lib.jobs.watch import Watch
from lib.tasks.serving.models import take_back
from lib.tasks.serving.result import RESULT_SUFFIXES
from lib.tasks.serving.weights import NoWeights, SchemaMismatch, served_weights
from lib.tasks.spec import TaskSpec

QUEUED = "queue_seconds"
"""How long a request waited for its turn, which the server alone tells."""


class ServedInfer(InferTask):
    """What every infer task of an app tells of itself.

    MONAI Label's own BasicInferTask mis-indexes axes on the way back and runs random weights where there is no file, so
    this adapts the interface below it.

    Args:
        app_dir: The app's folder.
        task: The task.
        type: What viewers offer it as.
        labels: The value of each class, by name.
        dimension: 2 if it answers for one slice, else 3.
    """

    needs_clicks = False

    def __init__(
        self, app_dir: str | Path, task: TaskSpec, *, type: str, labels: Mapping[str, int], dimension: int = 3
    ) -> None:
        self.app_dir, self.task, self.values = Path(app_dir), task, dict(labels)
        super().__init__(
            type=type,
            labels=self.values,
            dimension=dimension,
            description=task.description,
            config={"result_extension": list(RESULT_SUFFIXES), "result_compress": False},
        )

    def is_valid(self) -> bool:
        """Say that the task is listed; without weights it answers with the reason."""
        return True

    def get_path(self, validate: bool = True) -> str | None:
        """Return the file of the served weights, None if there is none."""
        try:
            return str(served_weights(self.app_dir, self.task).path)
        except (NoWeights, SchemaMismatch):
            return None

    def prepare(self) -> None:
        """Begin to load what the first request will need, where that is worth it."""

    @abstractmethod
    def release(self, idle_seconds: float) -> bool:
        """Let go of the network if nobody asked for so long; see `Follower.release`."""


def watch_over(app_dir: str | Path, task: TaskSpec) -> Watch:
    """Return a watch that takes a failing version of a task back."""
    return Watch(lambda version, reason: take_back(app_dir, task, version, reason))
