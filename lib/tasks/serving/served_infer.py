"""The base class of an app's infer tasks: listing, served weights and release of memory."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from monailabel.interfaces.tasks.infer_v2 import InferTask

from lib.jobs.failure_watch import Watch
from lib.tasks.serving.models import roll_back_failing_version
from lib.tasks.serving.result import RESULT_SUFFIXES
from lib.tasks.serving.weights import NoWeights, SchemaMismatch, served_weights
from lib.tasks.spec import TaskSpec

QUEUED = "queue_seconds"
"""Key of a request with the seconds that it waited in the server's queue; only the server sets it."""


class ServedInfer(InferTask):
    """Base class of the infer tasks of an app.

    MONAI Label's BasicInferTask confuses axes when it restores the source grid, and uses random weights if the file of
    weights is missing. This class therefore implements the interface below BasicInferTask.

    Args:
        app_dir: The app's folder.
        task: The task.
        type: MONAI Label's type of the infer task, by which viewers place it in their panels.
        labels: Label value of each class by name.
        dimension: 2 if the result is one slice, else 3.
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
        """Return True: the task is listed even without weights, and a request then gets the reason as an error."""
        return True

    def get_path(self, validate: bool = True) -> str | None:
        """Return the file of the served weights, None if no weights can be served."""
        try:
            return str(served_weights(self.app_dir, self.task).path)
        except (NoWeights, SchemaMismatch):
            return None

    def prepare(self) -> None:
        """Start to load what the first request needs; does nothing by default."""

    @abstractmethod
    def release(self, idle_seconds: float) -> bool:
        """Free the memory of the network if it is idle for that long; see `Follower.release`."""


def watch_for_failures(app_dir: str | Path, task: TaskSpec) -> Watch:
    """Return a watch that rolls back a version of a task that fails."""
    return Watch(lambda version, reason: roll_back_failing_version(app_dir, task, version, reason))
