"""Dice and IoU agree with values computed by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from lib.evaluation.metrics.overlap import dice, iou


def _line(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((10, 1, 1), bool)
    mask[start:stop] = True
    return mask


@pytest.mark.parametrize(
    ("prediction", "reference", "expected_dice", "expected_iou"),
    [
        ((0, 4), (0, 4), 1.0, 1.0),
        ((0, 4), (2, 8), 2 * 2 / 10, 2 / 8),
        ((0, 3), (5, 9), 0.0, 0.0),
        ((0, 0), (5, 9), 0.0, 0.0),
        ((5, 9), (0, 0), 0.0, 0.0),
    ],
)
def test_dice_and_iou_by_hand(
    prediction: tuple[int, int], reference: tuple[int, int], expected_dice: float, expected_iou: float
) -> None:
    predicted, expected = _line(*prediction), _line(*reference)
    assert dice(predicted, expected) == pytest.approx(expected_dice)
    assert iou(predicted, expected) == pytest.approx(expected_iou)


@pytest.mark.parametrize("score", [dice, iou])
def test_two_empty_masks_give_nan(score: Callable) -> None:
    assert math.isnan(score(_line(0, 0), _line(0, 0)))


@pytest.mark.parametrize("score", [dice, iou])
def test_shapes_must_agree(score: Callable) -> None:
    with pytest.raises(ValueError, match="one grid"):
        score(_line(0, 2), np.zeros((10, 1, 2), bool))
