"""MONAI Label infer task of a segmentation task: write a label file on the source grid and return its facts."""

import logging
import time
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.serving.result import centroids, result_dtype, result_suffix, write_result
from lib.tasks.serving.served_infer import ServedInfer, watch_for_failures
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)


class SegmentationInfer(ServedInfer):
    """Answer inference requests of one task.

    Args:
        app_dir: Folder of the app.
        task: The task.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec) -> None:
        super().__init__(app_dir, task, type=InferType.SEGMENTATION, labels=task.label_values)
        self.segmenter = Segmenter.from_task(app_dir, task, watch=watch_for_failures(app_dir, task))

    def release(self, idle_seconds: float) -> bool:
        """Release the network if no request came for `idle_seconds`; see `Segmenter.release`."""
        return self.segmenter.release(idle_seconds)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment the image of a request.

        Args:
            request: ``image`` is a path; ``result_extension``, ``result_dtype``, ``result_compress`` and
                ``result_write_to_file`` are optional.
        Returns:
            The label file (None if not requested), and ``label_names``, ``latencies``, ``centroids``, ``version``,
            ``notes`` (deviations from the request, for example for lack of memory).
        Raises:
            InputRejected: If the input gate rejects the image.
            NoWeights: If no version of the task can be served.
            RequestError: If the request names an unsupported result option.
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
