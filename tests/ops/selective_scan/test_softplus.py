"""The softplus of the scan agrees with the softplus of torch in float64."""

import torch
from torch.nn import functional as F

from lib.ops.selective_scan.softplus import softplus


def test_float32_has_a_small_relative_error() -> None:
    x = torch.cat((torch.linspace(-80, 80, 4001), torch.linspace(-1, 1, 4001)))
    wanted = F.softplus(x.double(), threshold=100)
    assert ((softplus(x).double() - wanted) / wanted).abs().max() < 5e-6


def test_float64_uses_the_exact_softplus() -> None:
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    assert torch.equal(softplus(x), F.softplus(x))


def test_extremes_are_finite_and_the_argument_is_unchanged() -> None:
    x = torch.tensor([-1e4, -200.0, 0.0, 200.0, 1e4])
    before = x.clone()
    torch.testing.assert_close(softplus(x), torch.tensor([0.0, 0.0, 0.6931472, 200.0, 1e4]))
    assert torch.equal(x, before)
