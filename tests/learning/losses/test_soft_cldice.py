"""Soft clDice, computed by hand for lines one voxel thick, which are their own skeletons."""

import numpy as np
import pytest
import torch

from lib.evaluation.metrics.topology import cl_dice
from lib.learning.losses.soft_cldice import soft_cldice_loss
from tests.ops.tubes import FEW, SHAPES


def line(start: int, stop: int, *, batch: int = 1) -> torch.Tensor:
    """Return a mask with a horizontal line one voxel thick."""
    mask = torch.zeros(batch, 1, 7, 9)
    mask[:, :, 3, start:stop] = 1
    return mask


@pytest.mark.parametrize(
    ("prediction", "loss"),
    [
        (line(2, 6), 0.0),
        # Half the line: precision 3/3, recall (2 + 1) / (4 + 1).
        (line(2, 4), 1 - 2 * 0.6 / 1.6),
        # Nothing: precision 1/1, recall 1/5.
        (line(0, 0), 1 - 2 * 0.2 / 1.2),
    ],
)
def test_value_by_hand(prediction: torch.Tensor, loss: float) -> None:
    assert soft_cldice_loss(prediction, line(2, 6)).item() == pytest.approx(loss, abs=1e-6)


def test_invalid_voxels_have_no_loss() -> None:
    valid = torch.ones(1, 1, 7, 9)
    valid[..., 4:] = 0
    assert soft_cldice_loss(line(2, 4), line(2, 6), valid=valid).item() == pytest.approx(0, abs=1e-6)


def test_a_break_has_a_larger_loss_than_a_thinner_tube_of_the_same_volume() -> None:
    tube = torch.zeros(1, 1, 9, 17)
    tube[:, :, 3:6, 1:16] = 1
    thinner, broken = tube.clone(), tube.clone()
    thinner[:, :, 3, 1:16] = 0
    broken[:, :, :, 6:11] = 0
    assert thinner.sum() == broken.sum()
    assert soft_cldice_loss(broken, tube) > soft_cldice_loss(thinner, tube)


def test_the_gradient_fills_the_break() -> None:
    prob = (0.9 * line(2, 4) + 0.1 * line(4, 6)).requires_grad_()
    soft_cldice_loss(prob, line(2, 6)).backward()
    assert prob.grad is not None and (prob.grad[0, 0, 3, 4:6] < 0).all()


@pytest.mark.parametrize("name", [name for name in FEW if name.startswith(("tube", "oblique tube", "bar"))])
def test_loss_and_metric_agree_on_tubes_of_any_width(name: str) -> None:
    """They agree on a perfect mask, on one without the middle part, and on none; the loss adds 1 to each sum."""
    mask = SHAPES[name]
    place = np.indices(mask.shape).sum(0)
    first, last = np.quantile(place[mask], (1 / 3, 2 / 3))
    gap = mask & ~((place > first) & (place < last))
    for prediction, tolerance in ((mask, 1e-6), (gap, 0.2), (np.zeros_like(mask), 0.2)):
        loss = soft_cldice_loss(*(torch.from_numpy(one).float()[None, None] for one in (prediction, mask))).item()
        assert 1 - loss == pytest.approx(cl_dice(prediction, mask), abs=tolerance)


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        soft_cldice_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4))
