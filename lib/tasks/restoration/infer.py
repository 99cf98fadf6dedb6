"""A restoring task as MONAI Label's infer task: a request in, a scan that says it is processed and its facts out."""

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.data.scintigraphy.derived import NOTICE
from lib.data.scintigraphy.scans import DICOM_SUFFIX, SUFFIXES, own_suffix, write_restored
from lib.records.card import find_code_version
from lib.tasks.restoration.restorer import Restoration, Restorer
from lib.tasks.serving.result import RequestError, first
from lib.tasks.serving.served_infer import ServedInfer, watch_over
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)

RESTORED, UNCERTAINTY = "restored", "uncertainty"


class RestorationInfer(ServedInfer):
    """Answer restoration requests of one task.

    Args:
        app_dir: The app's folder.
        task: The task.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec) -> None:
        super().__init__(app_dir, task, type=InferType.OTHERS, labels={}, dimension=2)
        self._config |= {
            "result_extension": list(SUFFIXES),
            "result": [RESTORED, UNCERTAINTY],
            "fraction": task.counts.fraction if task.counts else 0.5,
        }
        self.restorer = Restorer.from_task(app_dir, task, watch=watch_over(app_dir, task))

    def release(self, idle_seconds: float) -> bool:
        """Let go of the network if nobody asked for so long."""
        return self.restorer.release(idle_seconds)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Restore the scan of a request.

        Args:
            request: ``image`` is a path; ``fraction`` of the whole scan's counts that it holds, ``result`` ("restored",
                or "uncertainty" for the standard deviation at every pixel), ``result_extension`` and
                ``result_write_to_file`` are optional.
        Returns:
            The file (None if not asked for), and ``latencies``, ``version``, ``fraction``, ``counts`` (recorded and
            expected, by view), and ``notes``.
        Raises:
            InputRejected: If the scan is refused.
            NoWeights: If nothing serves the task.
            RequestError: If the request asks for what is not offered.
        """
        start = time.perf_counter()
        wanted, suffix, fraction = _wanted(request), _suffix(request), _fraction(request)
        if wanted == UNCERTAINTY and suffix not in (".nrrd", ".nii.gz", ".nii"):
            raise RequestError("an uncertainty map holds no whole counts: ask for .nii.gz or .nrrd")
        done = self.restorer.restore(request["image"], fraction, deviation=wanted == UNCERTAINTY)
        before, file = time.perf_counter(), None
        if request.get("result_write_to_file", True):
            file = _written(done, self.task, suffix)
        seconds = {"pre": done.seconds["read"], "infer": done.seconds["infer"], "invert": 0.0, "post": 0.0}
        seconds |= {"write": time.perf_counter() - before, "total": time.perf_counter() - start}
        params = {
            "label_names": {},
            "latencies": {stage: round(each, 2) for stage, each in seconds.items()},
            "version": done.version,
            "result": wanted,
            "fraction": done.fraction,
            "counts": {
                "views": list(done.scan.views),
                "recorded": done.scan.counts.sum((1, 2)).tolist(),
                "expected": [round(float(view.sum(dtype=np.float64)), 1) for view in done.expected],
            },
            "notes": [NOTICE],
        }
        name = Path(request["image"]).name
        logger.info("%s: %s with version %s in %s", self.task.name, name, done.version, params["latencies"])
        return file, params


def _written(done: Restoration, task: TaskSpec, suffix: str) -> str:
    handle, path = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    said = done.description(task)
    array = done.expected if done.deviation is None else done.deviation
    if done.deviation is not None:
        said = f"Standard deviation, for the noise of the rapid scan, of: {said}"
    try:
        write_restored(done.scan, array, path, description=said, software=f"TopoLabel {find_code_version()}".strip())
    except ValueError as error:
        Path(path).unlink(missing_ok=True)
        raise RequestError(str(error)) from None
    return path


def _wanted(request: dict[str, Any]) -> str:
    wanted = first(request.get("result")) or RESTORED
    if wanted not in (RESTORED, UNCERTAINTY):
        raise RequestError(f"result is '{RESTORED}' or '{UNCERTAINTY}', not {wanted!r}")
    return wanted


def _suffix(request: dict[str, Any]) -> str:
    asked = request.get("result_extension")
    if isinstance(asked, list | tuple) or not asked:
        # A list is what a client sends that leaves the choice to us.
        own = own_suffix(request["image"])
        return own if _wanted(request) == RESTORED or own != DICOM_SUFFIX else ".nrrd"
    suffix = asked if str(asked).startswith(".") else f".{asked}"
    if suffix not in SUFFIXES:
        raise RequestError(f"result_extension is one of {', '.join(SUFFIXES)}, not {asked!r}")
    return suffix


def _fraction(request: dict[str, Any]) -> float | None:
    asked = first(request.get("fraction"))
    if asked is None:
        return None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 < asked <= 1:
        raise RequestError(
            f"fraction is what the scan holds of a whole one's counts, above 0 and at most 1, not {asked!r}"
        )
    return float(asked)
