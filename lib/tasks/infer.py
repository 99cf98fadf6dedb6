"""A task as MONAI Label's infer task: a request in, a label file on the source grid and its facts out."""

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.jobs.watch import Watch
from lib.tasks.models import take_back
from lib.tasks.result import RESULT_SUFFIXES, centroids, result_dtype, result_suffix, write_result
from lib.tasks.segmenter import Segmenter
from lib.tasks.spec import TaskSpec
from lib.tasks.weights import NoWeights, SchemaMismatch, served_weights

logger = logging.getLogger(__name__)

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


class SegmentationInfer(ServedInfer):
    """Answer inference requests of one task.

    Args:
        app_dir: The app's folder.
        task: The task.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec) -> None:
        super().__init__(app_dir, task, type=InferType.SEGMENTATION, labels=task.label_values)
        self.segmenter = Segmenter.from_task(app_dir, task, watch=watch_over(app_dir, task))

    def release(self, idle_seconds: float) -> bool:
        """Let go of the network if nobody asked for so long; see `Segmenter.release`."""
        return self.segmenter.release(idle_seconds)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment the image of a request.

        Args:
            request: ``image`` is a path; ``result_extension``, ``result_dtype``, ``result_compress`` and
                ``result_write_to_file`` are optional.
        Returns:
            The label file (None if not asked for), and ``label_names``, ``latencies``, ``centroids``, ``version``,
            ``notes`` (what memory did not allow).
        Raises:
            InputRejected: If the gate refuses the image.
            NoWeights: If nothing serves the task.
            RequestError: If the request asks for a result that is not offered.
        """
        start = time.perf_counter()
        suffix, dtype = result_suffix(request), result_dtype(request)
        result = self.segmenter.segment(request["image"], _progress(self.task.name))
        latencies = {"pre": result.seconds["check"] + result.seconds["read"], "infer": result.seconds["infer"]}
        latencies |= {"invert": result.seconds["restore"], "post": 0.0}
        before, file = time.perf_counter(), None
        if request.get("result_write_to_file", True):
            file = write_result(result.label, result.affine, suffix, dtype)
        latencies |= {"write": time.perf_counter() - before, "total": time.perf_counter() - start}
        params = {
            "label_names": self.values,
            "latencies": {stage: round(seconds, 2) for stage, seconds in latencies.items()},
            "centroids": centroids(result.label, self.task.label_values),
            "version": result.version,
            "notes": list(result.notes),
        }
        name = Path(request["image"]).name
        logger.info("%s: %s with version %s in %s", self.task.name, name, result.version, params["latencies"])
        return file, params


def _progress(name: str) -> Any:
    def report(done: int, total: int) -> None:
        logger.debug("%s: slice %d of %d", name, done, total)

    return report
