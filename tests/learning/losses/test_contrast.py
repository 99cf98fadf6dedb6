"""The contrastive loss, with values computed by hand."""

import math

import pytest
import torch

from lib.learning.losses.contrast import contrast_loss


def test_value_by_hand() -> None:
    """Two orthogonal vectors: the logit of the matching key is 1 / t, that of the other key 0."""
    ones = torch.eye(2)
    expected = 2 * 0.5 * math.log(1 + math.exp(-1 / 0.5))
    assert contrast_loss(ones, ones, temperature=0.5).item() == pytest.approx(expected, rel=1e-6)
    assert contrast_loss(ones, ones.flip(0), temperature=0.5).item() == pytest.approx(expected + 2, rel=1e-6)


def test_keys_get_no_gradient() -> None:
    queries, keys = torch.eye(3).requires_grad_(), torch.eye(3).requires_grad_()
    contrast_loss(queries, keys).backward()
    assert queries.grad is not None and keys.grad is None
