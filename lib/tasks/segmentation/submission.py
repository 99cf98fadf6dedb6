"""Check a submitted label: its grid, its values, and faults that the annotator should review."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lib.data.formats import load
from lib.data.labels.label_file import read_label
from lib.data.pipeline import write_label
from lib.evaluation.faults.inspect import inspect_label, not_checked
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
"""Time in s after which no further check of a label starts, because the annotator waits for the answer."""


def check_submitted_label(path: Path, image: str | Path, task: TaskSpec, label_info: Any = None) -> NDArray[Any]:
    """Reject a label that cannot be used for training, and write any other with the values and the grid of the task.

    Slicer numbers the segments of a submitted label by their position on the screen and sends their names separately.

    Args:
        path: The label file; rewritten if the values or the order of its voxels change, or if it names its segments.
        image: Image of the label.
        task: Task that declares the labels.
        label_info: Names of the values in the file, in any form that `lib.data.labels.names.parse_label_info` accepts.
    Returns:
        Label values, in the shape of the image.
    Raises:
        InputRejected: If the image or the label cannot be read, the label has another grid than its image, or unknown
            values or names.
    """
    # The voxels are read as well: a label of an image that is cut off would stop every training.
    grid = load(image)
    label = read_label(path, grid.voxels.shape, grid.affine, task.label_values, label_info, in_pixels=grid.in_pixels)
    if not label.is_plain:
        write_label(label.voxels, grid.affine, path)
    return label.voxels


def find_label_faults(
    label: NDArray[Any], image: str | Path, task: TaskSpec, covered: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the faults of a label that the annotator should review, JSON-safe; reject nothing and raise nothing.

    Args:
        label: Label values from `check_submitted_label`, in the shape of the image.
        image: Image of the label.
        task: Task that declares labels and expected topology.
        covered: Names of the labels that the label covers, None for all; the others are not inspected.
    """
    drawn = set(task.labels if covered is None else covered)
    try:
        volume = load(image)
        shape = (*label.shape, 1)[:3]
        found = inspect_label(
            label.reshape(shape),
            volume.voxels.reshape(shape),
            volume.affine,
            modality=task.image.modality,
            values={name: value for name, value in task.label_values.items() if name in drawn},
            expected=[limits for limits in task.topology if drawn.issuperset(limits.labels)],
            seconds=CHECK_SECONDS,
        )
    except Exception as error:  # a label is saved even if the check fails
        logger.exception("the check of the label of %s failed", image)
        found = [not_checked(f"The check failed: {type(error).__name__}.")]
    return [fault.as_dict() for fault in found]
