"""Specification of one task: label values and number of axes."""

from lib.data.pipeline import ImageSpec
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.task import NO_IMAGE


def test_label_values_start_at_one() -> None:
    task = TaskSpec("t", "segmentation", "topowmamba_tiny", ("left", "right"))
    assert task.label_values == {"left": 1, "right": 2}


def test_the_dimension_is_the_length_of_the_roi() -> None:
    for roi in ((64, 64), (32, 32, 32)):
        task = TaskSpec("t", "segmentation", "dynunet", ("a",), ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), roi))
        assert task.dimension == len(roi)
    assert TaskSpec("t", "restoration", "nafnet_tiny").image is NO_IMAGE
