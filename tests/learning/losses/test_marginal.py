"""Marginal probabilities: values by hand, and classes of each sample of a batch."""

import math

import torch

from lib.learning.losses.marginal import merge_uncovered


def test_uncovered_classes_are_added_to_the_background_of_their_sample() -> None:
    prob = torch.tensor([0.4, 0.3, 0.2, 0.1]).view(1, 4, 1, 1).expand(2, 4, 1, 1)
    covered = torch.tensor([[True, False, True, False], [True, True, True, True]])
    merged = merge_uncovered(prob.log(), covered).exp()
    assert torch.allclose(merged[0, [0, 2]].flatten(), torch.tensor([0.8, 0.2]))
    assert torch.allclose(merged[1], prob[1])


def test_an_unlikely_background_has_a_finite_gradient() -> None:
    logits = torch.tensor([-200.0, 0.0, 3.0]).view(1, 3, 1).requires_grad_()
    merged = merge_uncovered(logits.log_softmax(1), torch.tensor([[True, False, True]]))
    assert math.isclose(merged[0, 0, 0].item(), math.log(1 / (1 + math.exp(3))), rel_tol=1e-5)
    merged[0, 0, 0].backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
