"""Dice and cross entropy: values computed by hand, comparison with MONAI, and ignored voxels."""

import math

import pytest
import torch
from monai.losses.dice import DiceCELoss

from lib.learning.losses.dice_ce import dice_ce_loss

# Two voxels: p(class 1) = 3/4 where the label is 1, and 1/2 where it is 0.
LOGITS = torch.tensor([[[[0.0, 0.0]], [[math.log(3), 0.0]]]])
TARGET = torch.tensor([[[1, 0]]])
CROSS_ENTROPY = -(math.log(0.75) + math.log(0.5)) / 2


@pytest.mark.parametrize(
    ("include_background", "dice_term"),
    [(False, 1 - 1.5 / 2.25), (True, (1 - 1.5 / 2.25 + 1 - 1 / 1.75) / 2)],
)
def test_value_by_hand(include_background: bool, dice_term: float) -> None:
    loss = dice_ce_loss(LOGITS, TARGET, include_background=include_background, smooth=0)
    assert loss.item() == pytest.approx(CROSS_ENTROPY + dice_term, abs=1e-6)


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 5)])
@pytest.mark.parametrize("include_background", [False, True])
def test_equals_monai_where_nothing_is_ignored(shape: tuple[int, ...], include_background: bool) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, *shape), torch.randint(0, 4, (2, *shape))
    reference = DiceCELoss(softmax=True, to_onehot_y=True, batch=True, include_background=include_background)
    loss = dice_ce_loss(logits, target, include_background=include_background)
    assert loss.item() == pytest.approx(reference(logits, target[:, None]).item(), abs=1e-5)


def test_ignored_voxels_change_neither_value_nor_gradient() -> None:
    logits = torch.cat([LOGITS, torch.tensor([[[[9.0]], [[-7.0]]]])], dim=-1).requires_grad_()
    target = torch.tensor([[[1, 0, 255]]])
    loss = dice_ce_loss(logits, target, smooth=0)
    loss.backward()
    assert loss.item() == pytest.approx(dice_ce_loss(LOGITS, TARGET, smooth=0).item(), abs=1e-6)
    assert logits.grad is not None
    assert (logits.grad[..., 2] == 0).all() and (logits.grad[..., :2] != 0).all()


def test_a_completely_ignored_batch_has_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = dice_ce_loss(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and (logits.grad == 0).all()


def test_half_precision_logits_are_computed_in_float32() -> None:
    loss = dice_ce_loss(LOGITS.to(torch.bfloat16), TARGET)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(CROSS_ENTROPY + 1 / 3, abs=1e-2)


@pytest.mark.parametrize(
    ("target", "message"),
    [(torch.tensor([[[1, 2]]]), "labels must lie"), (torch.tensor([[1, 0]]), "grid"), (-TARGET, "labels must lie")],
)
def test_invalid_labels_are_refused(target: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dice_ce_loss(LOGITS, target)


def test_classes_that_are_not_covered_by_hand() -> None:
    """Class 2 is not covered in the first sample: there it counts as background, and has no Dice."""
    prob = torch.tensor([[[0.5, 0.25], [0.25, 0.5], [0.25, 0.25]], [[0.25, 0.5], [0.5, 0.25], [0.25, 0.25]]])
    target, covered = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[True, True, False], [True, True, True]])
    cross_entropy = -(math.log(0.75) + math.log(0.5) + math.log(0.5) + math.log(0.25)) / 4
    first, second = 2 * (0.5 + 0.5) / (0.25 + 0.5 + 0.5 + 0.25 + 2), 2 * 0.25 / (0.25 + 0.25 + 1)
    loss = dice_ce_loss(prob.log(), target, covered, smooth=0)
    assert loss.item() == pytest.approx(cross_entropy + (1 - first + 1 - second) / 2, abs=1e-6)


def test_a_class_that_no_sample_covers_has_no_term_and_no_push() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 3, 3, requires_grad=True), torch.randint(0, 3, (2, 3, 3))
    covered = torch.tensor([[True, True, True, False]]).expand(2, 4)
    loss = dice_ce_loss(logits, target, covered)
    # Its probability belongs to the background: the same loss with both merged into one logit.
    merged = torch.cat([torch.logsumexp(logits[:, [0, 3]], 1, keepdim=True), logits[:, 1:3]], 1)
    assert loss.item() == pytest.approx(dice_ce_loss(merged, target).item(), abs=1e-6)


def test_labels_that_cover_everything_give_the_same_loss() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 3, 3), torch.randint(0, 4, (2, 3, 3))
    target[0, 0] = 255
    everything = torch.ones(2, 4, dtype=torch.bool)
    assert dice_ce_loss(logits, target, everything).item() == pytest.approx(dice_ce_loss(logits, target).item())
