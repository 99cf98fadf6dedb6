"""A task as MONAI Label's infer task: a request in, a label file on the source grid and its facts out."""

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.data.formats import SUFFIXES
from lib.data.pipeline import save_label
from lib.jobs.watch import Watch
from lib.tasks.models import take_back
from lib.tasks.segmenter import Segmentation, Segmenter
from lib.tasks.spec import TaskSpec
from lib.tasks.weights import NoWeights, SchemaMismatch, served_weights

logger = logging.getLogger(__name__)

RESULT_SUFFIXES = (".nrrd", ".nii.gz", ".nii")
RESULT_DTYPES = ("uint8", "uint16", "int16")


class RequestError(ValueError):
    """Raised for a request that asks for a result that is not offered."""


class SegmentationInfer(InferTask):
    """Answer inference requests of one task.

    MONAI Label's own BasicInferTask mis-indexes axes on the way back and runs random weights where there is no file, so
    this adapts the interface below it.

    Args:
        app_dir: The app's folder.
        task: The task.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=task.label_values,
            dimension=3,
            description=task.description,
            config={"result_extension": list(RESULT_SUFFIXES), "result_compress": False},
        )
        self.app_dir, self.task = Path(app_dir), task
        watch = Watch(lambda version, reason: take_back(app_dir, task, version, reason))
        self.segmenter = Segmenter.from_task(app_dir, task, watch=watch)

    def is_valid(self) -> bool:
        """Say that the task is listed; without weights it answers with the reason."""
        return True

    def release(self, idle_seconds: float) -> bool:
        """Let go of the network if nobody asked for so long; see `Segmenter.release`."""
        return self.segmenter.release(idle_seconds)

    def get_path(self, validate: bool = True) -> str | None:
        """Return the file of the served weights, None if there is none."""
        try:
            return str(served_weights(self.app_dir, self.task).path)
        except (NoWeights, SchemaMismatch):
            return None

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
        suffix, dtype = _suffix(request), _dtype(request)
        result = self.segmenter.segment(request["image"], _progress(self.task.name))
        latencies = {"pre": result.seconds["check"] + result.seconds["read"], "infer": result.seconds["infer"]}
        latencies |= {"invert": result.seconds["restore"], "post": 0.0}
        before = time.perf_counter()
        file = _write(result, suffix, dtype) if request.get("result_write_to_file", True) else None
        latencies |= {"write": time.perf_counter() - before, "total": time.perf_counter() - start}
        params = {
            "label_names": self.labels,
            "latencies": {stage: round(seconds, 2) for stage, seconds in latencies.items()},
            "centroids": centroids(result.label, self.task.label_values),
            "version": result.version,
            "notes": list(result.notes),
        }
        name = Path(request["image"]).name
        logger.info("%s: %s with version %s in %s", self.task.name, name, result.version, params["latencies"])
        return file, params


def centroids(label: np.ndarray, values: dict[str, int]) -> dict[str, list[str]]:
    """Return the middle voxel of each class that is there.

    Args:
        label: Label values, ``(X, Y)`` or ``(X, Y, Z)``.
        values: The value of each class, by name.
    Returns:
        Voxel indices by name, as strings, which is what OHIF reads.
    """
    found = {}
    for name, value in values.items():
        voxels = np.argwhere(label == value)
        if len(voxels):
            # The centre of a bent tube lies outside it; the voxel nearest to the centre does not.
            nearest = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
            found[name] = [str(int(index)) for index in nearest]
    return found


def first(value: Any) -> Any:
    """Return item 0 of a list: list-valued options arrive whole when a client sends nothing."""
    return value[0] if isinstance(value, list | tuple) and value else value


def _suffix(request: dict[str, Any]) -> str:
    asked = first(request.get("result_extension"))
    if asked:
        suffix = asked if str(asked).startswith(".") else f".{asked}"
        if suffix not in RESULT_SUFFIXES:
            raise RequestError(f"result_extension is one of {', '.join(RESULT_SUFFIXES)}, not {asked!r}")
        return suffix
    name = str(request["image"]).lower()
    own = next((s for s in SUFFIXES if name.endswith(s)), "")
    return own if own in RESULT_SUFFIXES else ".nrrd"


def _dtype(request: dict[str, Any]) -> str:
    dtype = first(request.get("result_dtype")) or "uint8"
    if dtype not in RESULT_DTYPES:
        raise RequestError(f"result_dtype is one of {', '.join(RESULT_DTYPES)}, not {dtype!r}")
    return dtype


def _write(result: Segmentation, suffix: str, dtype: str) -> str:
    handle, path = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    save_label(result.label, result.reading, path, dtype)
    return path


def _progress(name: str) -> Any:
    def report(done: int, total: int) -> None:
        logger.debug("%s: slice %d of %d", name, done, total)

    return report
