"""MONAI Label infer tasks of a click task: one slice, one volume, or several labels."""

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
from lib.tasks.click.clicker import Clicker, DrawnMask
from lib.tasks.click.image_cache import OpenedImage
from lib.tasks.click.request import ClickRequest, parse_label_clicks, parse_object_clicks
from lib.tasks.serving.result import RESULT_SUFFIXES, centroids, result_dtype, result_suffix, write_result
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)

UPLOADED, STORED = "uploaded_mask", "stored_mask"
"""Request keys, set by the server only, for the path of a mask to correct: an uploaded mask, or a stored label."""


class Mode(Enum):
    """What one request segments; the value is the suffix of the infer task's name."""

    SLICE = "2d"
    VOLUME = "3d"
    LABELS = "labels"


class ClickInfer(ServedInfer):
    """Answer the clicks of one task in one mode.

    Args:
        app_dir: Folder of the app.
        task: The task.
        mode: What a request segments.
        clicker: Clicker that all modes of the task share.
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
        """Start to load the network; importing its libraries takes seconds."""
        self.clicker.prepare()

    def release(self, idle_seconds: float) -> bool:
        """Release the network if no request came for `idle_seconds`; see `Clicker.release`."""
        return self.clicker.release(idle_seconds)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Answer the clicks of a request.

        Args:
            request: ``image`` is a path; clicks as in `lib.tasks.click.request`; options of the result as for
                `SegmentationInfer`.
        Returns:
            The label file (None if not requested), and ``label_names``, ``latencies`` (seconds, and whether every
            embedding was cached), ``centroids``, ``version``, ``notes``.
        Raises:
            InputRejected: If the input gate rejects the image, or the clicks are not valid.
            NoWeights: If no version of the task can be served.
            RequestError: If the request names an unsupported result option.
        """
        start = time.perf_counter()
        # OHIF copies the NRRD voxel by voxel; other clients may request another format.
        suffix, dtype = result_suffix({"result_extension": RESULT_SUFFIXES[0], **request}), result_dtype(request)
        opened = self.clicker.open(request["image"])
        read = time.perf_counter()
        earlier = next((request[key] for key in (UPLOADED, STORED) if request.get(key)), None)
        clicks = self._parse(request, opened, correcting=earlier is not None)
        masks = self._earlier(opened, clicks, earlier, by_name=bool(request.get(STORED)))
        drawn = self.clicker.draw(opened, clicks, self.values, masks)
        before, file = time.perf_counter(), None
        if request.get("result_write_to_file", True):
            file = write_result(drawn.label, drawn.affine, suffix, dtype)
        now = time.perf_counter()
        params = self._facts(drawn, {"read": read - start, "write": now - before, "total": now - start})
        logger.info("%s: %s with version %s in %s", self.name, opened.digest[:8], drawn.version, params["latencies"])
        return file, params

    def _parse(self, request: Mapping[str, Any], opened: OpenedImage, *, correcting: bool) -> ClickRequest:
        shape, labels = opened.stack.shape, self.task.labels
        if self.mode is Mode.LABELS:
            return parse_label_clicks(request, shape, labels, correcting=correcting)
        one_slice = self.mode is Mode.SLICE
        return parse_object_clicks(request, shape, self.task.object, labels, one_slice=one_slice, correcting=correcting)

    def _earlier(
        self, opened: OpenedImage, clicks: ClickRequest, path: str | None, *, by_name: bool
    ) -> dict[str, dict[int, Tensor]]:
        """Return the masks to correct, bool ``(H, W)`` by label and slice."""
        if path is None:
            return {}
        label = opened.label(path)
        if self.mode is Mode.LABELS:
            return {
                name: {index: plane == value for index, plane in label.items()} for name, value in self.values.items()
            }
        # A client uploads only the segment that it shows; a label of the store has all segments.
        value = self.task.label_values.get(clicks.label) if by_name else None
        chosen = {k: (plane > 0) & (plane != IGNORE) if value is None else plane == value for k, plane in label.items()}
        return {self.task.object: chosen}

    def _facts(self, drawn: DrawnMask, seconds: dict[str, float]) -> dict[str, Any]:
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
    """Return `centroids`, computed on the labelled slices only, because a whole volume would take too long."""
    if not slices:
        return {}
    if label.ndim == 2:
        return centroids(label, values)
    return centroids(label[..., slices[0] : slices[-1] + 1], values, slices[0])
