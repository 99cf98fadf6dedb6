"""The mask loss, with values computed by hand."""

import math

import pytest
import torch

from lib.learning.losses.mask import mask_loss

HALF = torch.tensor([[[True, True, False, False]]])
ALL = torch.ones_like(HALF)


def test_a_mask_of_probability_one_half() -> None:
    """If every probability is 1/2, cross entropy is ln 2 and Dice is (2 x 1 + 1) / (2 + 2 + 1)."""
    loss = mask_loss(torch.zeros(1, 1, 4), HALF, ALL)
    assert loss.item() == pytest.approx(0.2 * math.log(2) + 0.8 * (1 - 3 / 5))


@pytest.mark.parametrize(("weight", "value"), [(0.0, math.log(4 / 3)), (1.0, 1 - (2 * 1.5 + 1) / (2 + 2 + 1))])
def test_cross_entropy_alone_and_dice_alone(weight: float, value: float) -> None:
    """Probability 3/4 inside the target and 1/4 outside: the cross entropy of each pixel is ln 4/3."""
    logits = torch.where(HALF, math.log(3), -math.log(3))
    assert mask_loss(logits, HALF, ALL, dice_weight=weight).item() == pytest.approx(value)


def test_all_masks_have_the_same_weight() -> None:
    small, large = torch.zeros(1, 8, 8, dtype=torch.bool), torch.ones(1, 8, 8, dtype=torch.bool)
    small[0, 0, 0] = True
    logits = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.cat([small, large])
    alone = [mask_loss(logits[i : i + 1], target[i : i + 1], torch.ones(1, 8, 8)) for i in (0, 1)]
    together = mask_loss(logits, target, torch.ones(2, 8, 8))
    assert together.item() == pytest.approx((alone[0].item() + alone[1].item()) / 2)


def test_unknown_pixels_have_no_loss_and_no_gradient() -> None:
    valid = torch.tensor([[[True, True, True, False]]])
    logits = torch.tensor([[[1.0, -1.0, 0.5, 9.0]]], requires_grad=True)
    loss = mask_loss(logits, HALF, valid)
    loss.backward()
    assert loss.item() == pytest.approx(mask_loss(logits[..., :3], HALF[..., :3], ALL[..., :3]).item())
    assert logits.grad is not None and logits.grad[0, 0, 3] == 0 and (logits.grad[0, 0, :3] != 0).all()


def test_extreme_logits_and_empty_masks_give_finite_losses() -> None:
    assert mask_loss(torch.zeros(1, 1, 4), HALF, ~ALL).item() == 0
    saturated = torch.where(HALF, 200.0, -200.0)
    assert mask_loss(saturated, HALF, ALL).item() == pytest.approx(0, abs=1e-6)
    assert mask_loss(-saturated, HALF, ALL).isfinite()
    assert mask_loss(torch.full((1, 1, 4), -200.0), ~ALL, ALL).item() == pytest.approx(0, abs=1e-6)
    assert mask_loss(torch.zeros(1, 1, 4, dtype=torch.bfloat16), HALF, ALL).dtype == torch.float32
