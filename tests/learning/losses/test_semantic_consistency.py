"""Semantic consistency: values computed by hand, equal inputs, the order of masks, and images without regions."""

import math

import pytest
import torch

from lib.learning.losses.semantic_consistency import relations, semantic_consistency_loss


def halves() -> torch.Tensor:
    """Return two masks on a 2 x 2 grid: the left and the right column."""
    return torch.tensor([[[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]])


def features(left: tuple[float, float], right: tuple[float, float]) -> torch.Tensor:
    """Return features ``(1, 2, 2, 2)`` that are constant in the left and in the right column."""
    return (
        torch.tensor([[left, right]], dtype=torch.float32)
        .permute(0, 2, 1)[:, :, None, :]
        .expand(1, 2, 2, 2)
        .contiguous()
    )


def random_inputs(seed: int = 0, count: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return (
        torch.randn(2, 4, 6, 6, generator=rng),
        torch.randn(2, 4, 6, 6, generator=rng),
        torch.rand(2, count, 6, 6, generator=rng),
    )


def test_value_by_hand() -> None:
    """The features are orthogonal in the first stage and at 45 degrees in the second: the cosines differ by cos 45."""
    loss = semantic_consistency_loss(features((1, 0), (0, 2)), features((1, 0), (3, 3)), halves())
    assert loss.item() == pytest.approx(math.sqrt(0.5), abs=1e-6)


def test_prototypes_are_means_under_soft_masks() -> None:
    """A mask with 3/4 left and 1/4 right of the features (1, 0) and (0, 1) has the prototype (3/4, 1/4)."""
    masks = torch.tensor([[[[0.75, 0.25], [0.75, 0.25]], [[1.0, 0.0], [1.0, 0.0]]]])
    cosines = relations(features((1, 0), (0, 1)), masks)
    assert cosines[0, 0, 1].item() == pytest.approx(3 / math.sqrt(10), abs=1e-6)
    assert torch.diagonal(cosines[0]).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_finer_masks_are_averaged_to_the_grid_of_the_features() -> None:
    fine = halves().repeat_interleave(4, 2).repeat_interleave(4, 3)
    one, other = features((1, 0), (0, 2)), features((1, 0), (3, 3))
    expected = semantic_consistency_loss(one, other, halves())
    assert torch.allclose(semantic_consistency_loss(one, other, fine), expected)


def test_equal_stages_have_no_loss() -> None:
    first, _, masks = random_inputs()
    assert semantic_consistency_loss(first, first.clone(), masks).item() == 0


def test_the_order_of_masks_does_not_matter() -> None:
    first, second, masks = random_inputs()
    order = torch.tensor([3, 0, 4, 2, 1])
    loss = semantic_consistency_loss(first, second, masks)
    assert loss.item() > 0.01
    assert semantic_consistency_loss(first, second, masks[:, order]).item() == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("regions", [0, 1])
def test_an_image_with_fewer_than_two_regions_has_no_loss_and_no_gradient(regions: int) -> None:
    first, second, masks = random_inputs()
    masks[:, regions:] = 0
    first.requires_grad_(True)
    loss = semantic_consistency_loss(first, second, masks)
    loss.backward()
    assert loss.item() == 0
    assert first.grad is not None and torch.equal(first.grad, torch.zeros_like(first))


def test_an_empty_mask_changes_nothing() -> None:
    first, second, masks = random_inputs()
    expected = semantic_consistency_loss(first, second, masks).item()
    more = torch.cat([masks[:, :2], torch.zeros(2, 1, 6, 6), masks[:, 2:]], 1)
    first.requires_grad_(True)
    loss = semantic_consistency_loss(first, second, more)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert first.grad is not None and first.grad.isfinite().all()


def test_only_the_first_stage_gets_a_gradient() -> None:
    first, second, masks = (tensor.requires_grad_(True) for tensor in random_inputs())
    semantic_consistency_loss(first, second, masks).backward()
    assert first.grad is not None and first.grad.abs().sum() > 0
    assert second.grad is None and masks.grad is None
