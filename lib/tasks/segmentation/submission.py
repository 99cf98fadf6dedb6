"""Check a submitted label: its grid, its values, and faults that the annotator should review."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats import load, read_header
from lib.data.pipeline import IGNORE, load_label, write_label
from lib.evaluation.faults.inspect import inspect_label, not_checked
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
"""Time in s after which no further check of a label starts, because the annotator waits for the answer."""


def check_submitted_label(
    path: Path, image: str | Path, task: TaskSpec, label_info: Sequence[Mapping[str, Any]] = ()
) -> NDArray[Any]:
    """Reject a label that cannot be used for training, and map its values to the values of the task's labels.

    Slicer numbers the segments of a submitted label by their position on the screen and sends their names separately.

    Args:
        path: The label file; rewritten if values change.
        image: Image of the label.
        task: Task that declares the labels.
        label_info: ``{"name": ..., "idx": ...}`` per value, as Slicer sends it; may be empty.
    Returns:
        Label values, in the shape of the image.
    Raises:
        InputRejected: If the label cannot be read, has another grid than its image, or unknown values or names.
    """
    header = read_header(path)
    if header.components != 1 or len(header.spatial_shape) > 3:
        reason = f"The label '{path.name}' has several layers; one layer is expected."
        raise reject("WRONG_DIMENSION", reason, "Export it as one label map, without overlapping segments.")
    grid = read_header(image)
    voxels = load_label(path, grid.spatial_shape, grid.affine)
    renamed = _renamed(voxels, task.label_values, label_info)
    unknown = sorted(set(np.unique(renamed).tolist()) - {0, IGNORE, *task.label_values.values()})
    if unknown:
        known = ", ".join(f"{value} {name}" for name, value in task.label_values.items())
        reason = f"The label has the values {unknown}, which are not values of this task."
        raise reject("LABEL_VALUES", reason, f"Use only these values: 0 background, {known}, {IGNORE} ignore.")
    if not np.array_equal(renamed, voxels):
        write_label(renamed, header.affine, path)
    return renamed


def find_label_faults(label: NDArray[Any], image: str | Path, task: TaskSpec) -> list[dict[str, Any]]:
    """Return the faults of a label that the annotator should review, JSON-safe; reject nothing and raise nothing.

    Args:
        label: Label values from `check_submitted_label`, in the shape of the image.
        image: Image of the label.
        task: Task that declares labels and expected topology.
    """
    try:
        volume = load(image)
        shape = (*label.shape, 1)[:3]
        found = inspect_label(
            label.reshape(shape),
            volume.voxels.reshape(shape),
            volume.affine,
            values=task.label_values,
            expected=task.topology,
            seconds=CHECK_SECONDS,
        )
    except Exception as error:  # a label is saved even if the check fails
        logger.exception("the check of the label of %s failed", image)
        found = [not_checked(f"The check failed: {type(error).__name__}.")]
    return [fault.as_dict() for fault in found]


def _renamed(
    voxels: NDArray[np.uint8], values: Mapping[str, int], label_info: Sequence[Mapping[str, Any]]
) -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    present = set(np.unique(voxels).tolist())
    for info in label_info:
        name, index = str(info.get("name")), info.get("idx")
        if not isinstance(index, int) or not 0 < index < IGNORE or index not in present:
            continue
        if name not in values:
            reason = f"The segment '{name}' is not a label of this task."
            raise reject("LABEL_NAMES", reason, f"Rename the segment to one of: {', '.join(values)}; or remove it.")
        table[index] = values[name]
    return table[voxels]
