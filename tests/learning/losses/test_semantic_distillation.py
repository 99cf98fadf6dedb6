"""The distillation between the stages of a cascade, with values computed by hand."""

import pytest
import torch

from lib.learning.losses.semantic_distillation import semantic_distillation_loss


def test_value_by_hand() -> None:
    """The images differ by 1, 0, 0, 3 (mean 1), the features of the first level by 2, of the second by 0.5."""
    first, second = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([[[[0.0, 2.0], [3.0, 7.0]]]])
    levels = [(torch.full((1, 3, 1, 1), 2.0), torch.zeros(1, 3, 1, 1)), (torch.ones(1, 1, 2, 2), 0.5 * torch.ones(1))]
    assert semantic_distillation_loss(first, second, []).item() == pytest.approx(1.0)
    assert semantic_distillation_loss(first, second, levels).item() == pytest.approx(1.0 + 2.0 + 0.5)


def test_the_second_stage_gets_no_gradient() -> None:
    tensors = [torch.rand(1, 1, 2, 2, requires_grad=True) for _ in range(4)]
    first, second, one, other = tensors
    semantic_distillation_loss(first, second, [(one, other)]).backward()
    assert first.grad is not None and one.grad is not None
    assert second.grad is None and other.grad is None


def test_equal_stages_have_no_loss() -> None:
    image = torch.rand(2, 1, 3, 3)
    assert semantic_distillation_loss(image, image.clone(), [(image, image.clone())]).item() == 0
