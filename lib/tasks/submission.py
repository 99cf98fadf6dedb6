"""A label that somebody submits: on the grid of its image, and in the values of the app."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats import read_header
from lib.data.pipeline import IGNORE, load_label, save_label
from lib.tasks.spec import TaskSpec


def accept_label(path: Path, image: str | Path, task: TaskSpec, label_info: Sequence[Mapping[str, Any]] = ()) -> None:
    """Refuse a label that nobody could train on, and bring its values into the order of the task's labels.

    Slicer numbers the segments of a submitted label by their position on its screen, whatever values they came with,
    and tells their names beside it.

    Args:
        path: The label file; rewritten where values move.
        image: The image it belongs to.
        task: Whose labels these are.
        label_info: ``{"name": ..., "idx": ...}`` per value, as Slicer sends them; may be empty.
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
