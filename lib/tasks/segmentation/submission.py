"""A label that somebody submits: on the grid of its image, in the values of the app, and what to look at in it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats import load, read_header
from lib.data.pipeline import IGNORE, load_label, save_label
from lib.evaluation.faults import inspect_label, not_checked
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
"""After which no further check of a label begins: whoever submits it waits."""


def accept_label(
    path: Path, image: str | Path, task: TaskSpec, label_info: Sequence[Mapping[str, Any]] = ()
) -> NDArray[Any]:
    """Refuse a label that nobody could train on, and bring its values into the order of the task's labels.

    Slicer numbers the segments of a submitted label by their position on its screen, whatever values they came with,
    and tells their names beside it.

    Args:
        path: The label file; rewritten where values move.
        image: The image it belongs to.
        task: Whose labels these are.
        label_info: ``{"name": ..., "idx": ...}`` per value, as Slicer sends them; may be empty.
    Returns:
        Its values, in the image's shape.
    Raises:
        InputRejected: If it cannot be read, has another grid than its image, or unknown values or names.
    """
    header = read_header(path)
    if header.components != 1 or len(header.spatial_shape) > 3:
        reason = f"The label '{path.name}' has several layers."
        raise reject("WRONG_DIMENSION", reason, "Export it as one label map, without overlapping segments.")
    grid = read_header(image)
    voxels = load_label(path, grid.spatial_shape, grid.affine)
    renamed = _renamed(voxels, task.label_values, label_info)
    unknown = sorted(set(np.unique(renamed).tolist()) - {0, IGNORE, *task.label_values.values()})
    if unknown:
        known = ", ".join(f"{value} {name}" for name, value in task.label_values.items())
        reason = f"The label holds the values {unknown}, which name nothing."
        raise reject("LABEL_VALUES", reason, f"Use 0 background, {known}, {IGNORE} ignore.")
    if not np.array_equal(renamed, voxels):
        save_label(renamed, header.affine, path)
    return renamed


def inspect_submitted_label(label: NDArray[Any], image: str | Path, task: TaskSpec) -> list[dict[str, Any]]:
    """Return what a person should look at in a label, as plain data; it refuses nothing and raises nothing.

    Args:
        label: What `accept_label` returned.
        image: The image it belongs to.
        task: Whose labels these are.
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
    except Exception as error:  # a person's work is saved, whatever the check of it stumbles on
        logger.exception("the label of %s was not checked", image)
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
            reason = f"The segment '{name}' is none of this app's labels."
            raise reject("LABEL_NAMES", reason, f"Rename or remove it; the labels are {', '.join(values)}.")
        table[index] = values[name]
    return table[voxels]
