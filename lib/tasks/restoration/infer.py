"""MONAI Label infer task of a restoration task: write the restored scan, marked as processed, and return its facts."""

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.data.scintigraphy.derived import NOTICE
from lib.data.scintigraphy.scans import DICOM_SUFFIX, SUFFIXES, default_suffix, write_restored
from lib.records.card import find_code_version
from lib.tasks.restoration.restorer import RestoredScan, Restorer
from lib.tasks.serving.result import RequestError, first
from lib.tasks.serving.served_infer import ServedInfer, watch_for_failures
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)

RESTORED, UNCERTAINTY = "restored", "uncertainty"


class RestorationInfer(ServedInfer):
    """Answer restoration requests of one task.

    Args:
        app_dir: Folder of the app.
        task: The task.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec) -> None:
        super().__init__(app_dir, task, type=InferType.OTHERS, labels={}, dimension=2)
        self._config |= {
            "result_extension": list(SUFFIXES),
            "result": [RESTORED, UNCERTAINTY],
            "fraction": task.counts.fraction if task.counts else 0.5,
        }
        self.restorer = Restorer.from_task(app_dir, task, watch=watch_for_failures(app_dir, task))

    def release(self, idle_seconds: float) -> bool:
        """Release the network if no request came for `idle_seconds`; see `Restorer.release`."""
        return self.restorer.release(idle_seconds)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Restore the scan of a request.

        Args:
            request: ``image`` is a path. Optional: ``fraction``, the scan's share of the counts of a standard scan;
                ``result``, "restored" or "uncertainty" (standard deviation of every pixel); ``result_extension``;
                ``result_write_to_file``.
        Returns:
            The file (None if not requested), and ``latencies``, ``version``, ``fraction``, ``counts`` (recorded and
            expected, by view), and ``notes``.
        Raises:
            InputRejected: If the scan is rejected.
            NoWeights: If no version of the task can be served.
            RequestError: If the request names an unsupported option.
        """
        start = time.perf_counter()
        result_kind, suffix, fraction = _result_kind(request), _suffix(request), _fraction(request)
        if result_kind == UNCERTAINTY and suffix not in (".nrrd", ".nii.gz", ".nii"):
            raise RequestError("an uncertainty map has values that are not whole counts: request .nii.gz or .nrrd")
        restored = self.restorer.restore(request["image"], fraction, deviation=result_kind == UNCERTAINTY)
        before, file = time.perf_counter(), None
        if request.get("result_write_to_file", True):
            file = _write(restored, self.task, suffix)
        seconds = {"pre": restored.seconds["read"], "infer": restored.seconds["infer"], "invert": 0.0, "post": 0.0}
        seconds |= {"write": time.perf_counter() - before, "total": time.perf_counter() - start}
        params = {
            "label_names": {},
            "latencies": {stage: round(value, 2) for stage, value in seconds.items()},
            "version": restored.version,
            "result": result_kind,
            "fraction": restored.fraction,
            "counts": {
                "views": list(restored.scan.views),
                "recorded": restored.scan.counts.sum((1, 2)).tolist(),
                "expected": [round(float(view.sum(dtype=np.float64)), 1) for view in restored.expected],
            },
            "notes": [NOTICE],
        }
        name = Path(request["image"]).name
        logger.info("%s: %s with version %s in %s", self.task.name, name, restored.version, params["latencies"])
        return file, params


def _write(restored: RestoredScan, task: TaskSpec, suffix: str) -> str:
    handle, path = tempfile.mkstemp(suffix=suffix)
    os.close(handle)
    description = restored.description(task)
    array = restored.expected if restored.deviation is None else restored.deviation
    if restored.deviation is not None:
        description = f"Standard deviation, for the noise of the rapid scan, of: {description}"
    try:
        software = f"TopoLabel {find_code_version()}".strip()
        write_restored(restored.scan, array, path, description=description, software=software)
    except ValueError as error:
        Path(path).unlink(missing_ok=True)
        raise RequestError(str(error)) from None
    return path


def _result_kind(request: dict[str, Any]) -> str:
    kind = first(request.get("result")) or RESTORED
    if kind not in (RESTORED, UNCERTAINTY):
        raise RequestError(f"result must be '{RESTORED}' or '{UNCERTAINTY}', not {kind!r}")
    return kind


def _suffix(request: dict[str, Any]) -> str:
    extension = request.get("result_extension")
    if isinstance(extension, list | tuple) or not extension:
        # A client that sends a list leaves the choice to the server.
        own = default_suffix(request["image"])
        return own if _result_kind(request) == RESTORED or own != DICOM_SUFFIX else ".nrrd"
    suffix = extension if str(extension).startswith(".") else f".{extension}"
    if suffix not in SUFFIXES:
        raise RequestError(f"result_extension must be one of {', '.join(SUFFIXES)}, not {extension!r}")
    return suffix


def _fraction(request: dict[str, Any]) -> float | None:
    fraction = first(request.get("fraction"))
    if fraction is None:
        return None
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise RequestError(
            "fraction is the scan's share of the counts of a standard scan: send a number above 0 and at most 1, "
            f"not {fraction!r}"
        )
    return float(fraction)
