"""The relations of regions, worked by hand; zero for equal inputs, deaf to the masks' order, safe without regions."""

import math

import pytest
import torch

from lib.learning.losses.semantic_consistency import relations, semantic_consistency_loss


def halves() -> torch.Tensor:
    """Return two masks of 2 x 2 places: the left and the right column."""
    return torch.tensor([[[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]])


def features(left: tuple[float, float], right: tuple[float, float]) -> torch.Tensor:
    """Return ``(1, 2, 2, 2)``: the columns' features."""
    return (
        torch.tensor([[left, right]], dtype=torch.float32)
        .permute(0, 2, 1)[:, :, None, :]
        .expand(1, 2, 2, 2)
        .contiguous()
    )


def drawn(seed: int = 0, count: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return (
        torch.randn(2, 4, 6, 6, generator=rng),
        torch.randn(2, 4, 6, 6, generator=rng),
        torch.rand(2, count, 6, 6, generator=rng),
    )


def test_worked_by_hand() -> None:
    """At right angles in the first stage (cosine 0), at 45 degrees in the second: both pairs differ by cos 45."""
    loss = semantic_consistency_loss(features((1, 0), (0, 2)), features((1, 0), (3, 3)), halves())
    assert loss.item() == pytest.approx(math.sqrt(0.5), abs=1e-6)


def test_prototypes_are_means_under_soft_masks() -> None:
    """A mask of 3/4 left and 1/4 right of features (1, 0) and (0, 1): prototype (3/4, 1/4)."""
    masks = torch.tensor([[[[0.75, 0.25], [0.75, 0.25]], [[1.0, 0.0], [1.0, 0.0]]]])
    found = relations(features((1, 0), (0, 1)), masks)
    assert found[0, 0, 1].item() == pytest.approx(3 / math.sqrt(10), abs=1e-6)
    assert torch.diagonal(found[0]).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_masks_finer_than_the_features_are_averaged() -> None:
    fine = halves().repeat_interleave(4, 2).repeat_interleave(4, 3)
    one, other = features((1, 0), (0, 2)), features((1, 0), (3, 3))
    expected = semantic_consistency_loss(one, other, halves())
    assert torch.allclose(semantic_consistency_loss(one, other, fine), expected)


def test_zero_for_equal_inputs() -> None:
    first, _, masks = drawn()
    assert semantic_consistency_loss(first, first.clone(), masks).item() == 0


def test_the_order_of_masks_does_not_matter() -> None:
    first, second, masks = drawn()
    order = torch.tensor([3, 0, 4, 2, 1])
    loss = semantic_consistency_loss(first, second, masks)
    assert loss.item() > 0.01
    assert semantic_consistency_loss(first, second, masks[:, order]).item() == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("left", [0, 1])
def test_no_regions_or_one_say_nothing(left: int) -> None:
    first, second, masks = drawn()
    masks[:, left:] = 0
    first.requires_grad_(True)
    loss = semantic_consistency_loss(first, second, masks)
    loss.backward()
    assert loss.item() == 0
    assert first.grad is not None and torch.equal(first.grad, torch.zeros_like(first))


def test_an_empty_mask_changes_nothing() -> None:
    first, second, masks = drawn()
    expected = semantic_consistency_loss(first, second, masks).item()
    more = torch.cat([masks[:, :2], torch.zeros(2, 1, 6, 6), masks[:, 2:]], 1)
    first.requires_grad_(True)
    loss = semantic_consistency_loss(first, second, more)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert first.grad is not None and first.grad.isfinite().all()


def test_a_gradient_reaches_the_first_stage_only() -> None:
    first, second, masks = (each.requires_grad_(True) for each in drawn())
    semantic_consistency_loss(first, second, masks).backward()
    assert first.grad is not None and first.grad.abs().sum() > 0
    assert second.grad is None and masks.grad is None
