"""A click task as MONAI Label's infer tasks: for one slice, for a volume, and for several labels."""

import logging
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType
from numpy.typing import NDArray
from torch import Tensor

from lib.data.pipeline import IGNORE
from lib.tasks.click.clicker import Clicker, Drawn
from lib.tasks.click.request import Asked, asked_for_labels, asked_for_one
from lib.tasks.click.volumes import Opened
from lib.tasks.serving.result import RESULT_SUFFIXES, centroids, result_dtype, result_suffix, write_result
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)

UPLOADED, STORED = "uploaded_mask", "stored_mask"
"""Paths of a mask to mend, which the server alone sets: one that came with the request, one of the store."""


class Mode(Enum):
    """What a click is answered for, and what that is called."""

    SLICE = "2d"
    VOLUME = "3d"
    LABELS = "labels"


class ClickInfer(ServedInfer):
    """Answer the clicks of one task in one mode.

    Args:
        app_dir: The app's folder.
        task: The task.
        mode: What for.
        clicker: Shared by the task's modes.
    """

    needs_clicks = True

    def __init__(self, app_dir: str | Path, task: TaskSpec, mode: Mode, clicker: Clicker) -> None:
        super().__init__(
            app_dir,
            task,
            type=InferType.DEEPEDIT if mode is Mode.LABELS else InferType.DEEPGROW,
            labels=task.label_values if mode is Mode.LABELS else {task.object: 1},
            dimension=2 if mode is Mode.SLICE else 3,
        )
        self.mode, self.clicker, self.name = mode, clicker, f"{task.name}_{mode.value}"

    def prepare(self) -> None:
        """Begin to load the network: the libraries that it needs take seconds."""
        self.clicker.prepare()

    def release(self, idle_seconds: float) -> bool:
        """Let go of the network if nobody asked for so long; see `Clicker.release`."""
        return self.clicker.release(idle_seconds)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Answer the clicks of a request.

        Args:
            request: ``image`` is a path; clicks as in `lib.tasks.click.request`; what the result is to be as for
                `SegmentationInfer`.
        Returns:
            The label file (None if not asked for), and ``label_names``, ``latencies`` (seconds, and whether every
            embedding was at hand), ``centroids``, ``version``, ``notes``.
        Raises:
            InputRejected: If the gate refuses the image, or the clicks are none.
            NoWeights: If nothing serves the task.
            RequestError: If the request asks for a result that is not offered.
        """
        start = time.perf_counter()
        # As OHIF copies it, voxel by voxel, unless the client wants another.
        suffix, dtype = result_suffix({"result_extension": RESULT_SUFFIXES[0], **request}), result_dtype(request)
        opened = self.clicker.open(request["image"])
        read = time.perf_counter()
        earlier = next((request[key] for key in (UPLOADED, STORED) if request.get(key)), None)
        asked = self._asked(request, opened, mending=earlier is not None)
        masks = self._earlier(opened, asked, earlier, by_name=bool(request.get(STORED)))
        drawn = self.clicker.draw(opened, asked, self.values, masks)
        before, file = time.perf_counter(), None
        if request.get("result_write_to_file", True):
            file = write_result(drawn.label, drawn.affine, suffix, dtype)
        now = time.perf_counter()
        params = self._facts(drawn, {"read": read - start, "write": now - before, "total": now - start})
        logger.info("%s: %s with version %s in %s", self.name, opened.digest[:8], drawn.version, params["latencies"])
        return file, params

    def _asked(self, request: Mapping[str, Any], opened: Opened, *, mending: bool) -> Asked:
        shape, labels = opened.stack.shape, self.task.labels
        if self.mode is Mode.LABELS:
            return asked_for_labels(request, shape, labels, mending=mending)
        one_slice = self.mode is Mode.SLICE
        return asked_for_one(request, shape, self.task.object, labels, one_slice=one_slice, mending=mending)

    def _earlier(
        self, opened: Opened, asked: Asked, path: str | None, *, by_name: bool
    ) -> dict[str, dict[int, Tensor]]:
        """Return the masks to mend, bool ``(H, W)`` by label and slice."""
        if path is None:
            return {}
        label = opened.label(path)
        if self.mode is Mode.LABELS:
            return {
                name: {index: plane == value for index, plane in label.items()} for name, value in self.values.items()
            }
        # A client sends the one segment that it shows; the store has all of them.
        value = self.task.label_values.get(asked.label) if by_name else None
        chosen = {k: (plane > 0) & (plane != IGNORE) if value is None else plane == value for k, plane in label.items()}
        return {self.task.object: chosen}

    def _facts(self, drawn: Drawn, seconds: dict[str, float]) -> dict[str, Any]:
        stages = {"encode": drawn.encode_seconds, "decode": drawn.decode_seconds, **seconds}
        latencies: dict[str, float | bool] = {stage: round(value, 4) for stage, value in stages.items()}
        return {
            "label_names": self.values,
            "latencies": latencies | {"cached": drawn.encoded == 0},
            "centroids": _centroids(drawn.label, drawn.slices, self.values),
            "version": drawn.version,
            "notes": [],
        }


def _centroids(label: NDArray[np.uint8], slices: tuple[int, ...], values: Mapping[str, int]) -> dict[str, list[str]]:
    """Return `centroids`, looking only where something is: a volume is large and a click is quick."""
    if not slices:
        return {}
    if label.ndim == 2:
        return centroids(label, values)
    return centroids(label[..., slices[0] : slices[-1] + 1], values, slices[0])
