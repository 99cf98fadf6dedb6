"""The bounding box is tight, has its margin and stays inside the array."""

import numpy as np
import pytest

from lib.evaluation.metrics.crop import bounding_box


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0, (slice(2, 4), slice(1, 2), slice(0, 5))),
        (1, (slice(1, 5), slice(0, 3), slice(0, 5))),
        (9, (slice(0, 6), slice(0, 4), slice(0, 5))),
    ],
)
def test_box_and_margin(margin: int, expected: tuple[slice, ...]) -> None:
    mask = np.zeros((6, 4, 5), bool)
    mask[2, 1, 0] = mask[3, 1, 4] = True
    assert bounding_box(mask, margin) == expected


def test_empty_mask_has_an_empty_box() -> None:
    mask = np.zeros((3, 4), bool)
    assert mask[bounding_box(mask, margin=2)].size == 0
