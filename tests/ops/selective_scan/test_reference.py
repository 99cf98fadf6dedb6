"""The reference scan agrees with numbers worked by hand."""

import math

import pytest
import torch

from lib.ops.selective_scan.reference import scan_dtype, selective_scan_reference


def test_two_tokens_match_values_worked_by_hand() -> None:
    u, delta = torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[0.5, 1.0]]])
    a, b, c = torch.tensor([[-1.0]]), torch.tensor([[[[4.0, 5.0]]]]), torch.tensor([[[[6.0, 7.0]]]])
    y = selective_scan_reference(u, delta, a, b, c, torch.tensor([10.0]))
    # h1 = 0.5 * 4 * 2 = 4; h2 = exp(-1) * 4 + 1 * 5 * 3
    wanted = torch.tensor([[[6 * 4 + 20.0, 7 * (4 * math.exp(-1) + 15) + 30]]])
    torch.testing.assert_close(y, wanted)


def test_softplus_is_applied_after_the_bias() -> None:
    one = torch.ones(1, 1, 1)
    y = selective_scan_reference(
        one, one * 0.3, -one[0], one[None], one[None], delta_bias=torch.tensor([0.2]), delta_softplus=True
    )
    assert y.item() == pytest.approx(math.log1p(math.exp(0.5)))


def test_groups_are_consecutive_channels() -> None:
    u = torch.ones(1, 4, 1)
    b = torch.tensor([1.0, 100.0]).reshape(1, 2, 1, 1)
    y = selective_scan_reference(u, u, -torch.ones(4, 1), b, torch.ones(1, 2, 1, 1))
    assert y.flatten().tolist() == [1, 1, 100, 100]


@pytest.mark.parametrize(("dtype", "wanted"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_scans_compute_in_float32_at_least(dtype: torch.dtype, wanted: torch.dtype) -> None:
    tensor = torch.zeros(1, dtype=dtype)
    assert scan_dtype(tensor, tensor, tensor) == wanted
