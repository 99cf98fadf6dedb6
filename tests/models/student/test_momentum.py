"""The slow copy follows the student by momentum and has no gradients."""

import pytest
import torch

from lib.models import BUILDERS
from lib.models.student.momentum import MomentumPair

VIEWS = torch.rand(2, 4, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def build() -> MomentumPair:
    torch.manual_seed(0)
    student = BUILDERS["student_conv"](spatial_dims=2, in_channels=1, out_channels=2)
    return MomentumPair(student, spatial_dims=2, in_channels=1)


def test_vectors_have_unit_norm_and_only_the_student_has_gradients() -> None:
    pair = build().train()
    *queries, first, second = pair(*VIEWS, 0.9)
    for vectors in (*queries, first, second):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    assert not first.requires_grad and not second.requires_grad
    (queries[0].sum() + queries[1][:, 0].sum()).backward()
    assert all(parameter.grad is None for parameter in pair.slow.parameters())
    assert any(parameter.grad is not None for parameter in pair.student.parameters())


@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_the_slow_copy_is_updated_with_its_momentum(momentum: float) -> None:
    pair = build().train()
    before = pair.slow[0].stem[0].weight.clone()
    with torch.no_grad():
        pair.student.stem[0].weight += 1
    pair(*VIEWS, momentum)
    torch.testing.assert_close(pair.slow[0].stem[0].weight, before + (1 - momentum))


def test_the_slow_copy_is_not_updated_in_evaluation() -> None:
    pair = build().eval()
    with torch.no_grad():
        pair.student.stem[0].weight += 1
    before = pair.slow[0].stem[0].weight.clone()
    pair(*VIEWS, 0.5)
    assert torch.equal(pair.slow[0].stem[0].weight, before)
