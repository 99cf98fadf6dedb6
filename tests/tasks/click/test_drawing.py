"""Prompts for the network, and the assignment of pixels to labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.models.sam.predictor import Answer
from lib.ops.frame import Frame
from lib.tasks.click import drawing as module
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.drawing import MOST_POINTS, Canvas
from lib.tasks.click.request import ClickRequest, Marks
from tests.tasks.click.taught import scan

LABELS = {"tube": 1, "cavity": 2}


def found(columns: slice, logit: float) -> Answer:
    logits = torch.full((4, 8), -5.0)
    logits[:, columns] = logit
    return Answer(logits, Frame(0, 0, 32), torch.zeros(4, 4))


def test_the_nearer_click_wins_a_pixel_and_then_the_larger_logit() -> None:
    canvas = Canvas()
    canvas.put(1, [(0, found(slice(0, 5), 3.0), 0), (1, found(slice(0, 5), 9.0), 2)], alone=False)
    canvas.put(2, [(0, found(slice(3, 8), 4.0), 0), (1, found(slice(3, 8), 1.0), 1)], alone=False)
    assert canvas.values[0][0].tolist() == [1, 1, 1, 2, 2, 2, 2, 2]
    assert canvas.values[1][0].tolist() == [1, 1, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_mask_that_leaked_into_another_label_is_dropped(order: tuple[int, int]) -> None:
    near, far = (1, [(0, found(slice(0, 5), 1.0), 1)]), (2, [(0, found(slice(1, 7), 9.0), 6)])
    canvas = Canvas()
    for value, reached in [(near, far)[index] for index in order]:
        canvas.put(value, reached, alone=False)
    assert canvas.values[0][0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


def draw(
    clicker: Clicker, path: Path, request: ClickRequest, values: Mapping[str, int], earlier: dict | None = None
) -> np.ndarray:
    return clicker.draw(clicker.open(path), request, values, earlier).label


def test_a_box_is_prompted_on_its_middle_slice_and_limits_the_slices(clicker: Clicker, scans: list[Path]) -> None:
    row, column = scan(0)[2]
    box = ((row - 8, column - 8, 3), (row + 8, column + 8, 6))
    label = draw(clicker, scans[0], ClickRequest({"airway": Marks(box=box)}), {"airway": 1})
    assert np.flatnonzero(label.any((0, 1))).tolist() == [3, 4, 5, 6]


def test_labels_do_not_overlap(clicker: Clicker, scans: list[Path]) -> None:
    row, column = scan(0)[2]
    top, bottom = (row, column, 9), (row, column, 2)
    marks = {"tube": Marks((bottom,), (top,)), "cavity": Marks((top,), (bottom,))}
    label = draw(clicker, scans[0], ClickRequest(marks), LABELS)
    assert set(np.unique(label[..., :6])) == {0, 1}, "nearer to the lower click"
    assert set(np.unique(label[..., 7:])) == {0, 2}


def test_a_correction_leaves_other_slices_unchanged(clicker: Clicker, scans: list[Path]) -> None:
    row, column = scan(0)[2]
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[2:5, 3:9] = True
    earlier = {"airway": {1: mask, 4: torch.from_numpy(scan(0)[1][..., 4])}}
    label = draw(clicker, scans[0], ClickRequest({"airway": Marks(((row, column, 4),))}), {"airway": 1}, earlier)
    assert np.array_equal(label[..., 1], mask.numpy()) and label[..., 4].any()
    assert np.flatnonzero(label.any((0, 1))).tolist() == [1, 4]
    outside = ClickRequest({"airway": Marks((), ((row, column, 7),))}, 7)
    assert not draw(clicker, scans[0], outside, {"airway": 1}, earlier).any(), "the slice has no mask to correct"


def test_a_scribble_is_thinned_and_keeps_its_ends(clicker: Clicker, scans: list[Path]) -> None:
    stroke = (*((row, 30, 4) for row in range(64)), (33, 31, 4))
    thinned = module._thinned(stroke)
    assert len(thinned) == MOST_POINTS and (thinned[0], thinned[-1]) == (stroke[0], stroke[-1])
    assert module._thinned(stroke[:MOST_POINTS]) == stroke[:MOST_POINTS]
    assert draw(clicker, scans[0], ClickRequest({"airway": Marks(stroke)}, 4), {"airway": 1}).shape == (64, 64, 12)
