"""Cross-scan and merge are exact on non-square images and have the documented order."""

import pytest
import torch

from lib.ops.cross_scan import cross_merge, cross_scan


@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (1, 7), (2, 3, 4), (5, 1, 2)])
def test_merge_of_scan_is_k_times_the_image(shape: tuple[int, ...]) -> None:
    x = torch.randint(-9, 9, (2, 3, *shape)).float()
    sequences = cross_scan(x)
    assert sequences.shape == (2, 2 * len(shape), 3, x[0, 0].numel())
    assert torch.equal(cross_merge(sequences, shape), 2 * len(shape) * x)


def test_order_is_rows_columns_and_both_reversed() -> None:
    rows, columns, rows_back, columns_back = cross_scan(torch.arange(6.0).reshape(1, 1, 2, 3))[0, :, 0].tolist()
    assert rows == [0, 1, 2, 3, 4, 5] and rows_back == rows[::-1]
    assert columns == [0, 3, 1, 4, 2, 5] and columns_back == columns[::-1]


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_merge_is_the_adjoint_of_scan(shape: tuple[int, ...]) -> None:
    x = torch.randn(1, 2, *shape, dtype=torch.float64)
    y = torch.randn_like(cross_scan(x))
    assert (cross_scan(x) * y).sum().item() == pytest.approx((x * cross_merge(y, shape)).sum().item())


def test_in_3d_every_axis_varies_fastest_once() -> None:
    x = torch.arange(24.0).reshape(1, 1, 2, 3, 4)
    assert sorted(int(s[1] - s[0]) for s in cross_scan(x)[0, :3, 0]) == [1, 4, 12]


def test_shapes_that_do_not_fit_raise() -> None:
    with pytest.raises(ValueError, match="two or three"):
        cross_scan(torch.zeros(1, 1, 5))
    with pytest.raises(ValueError, match="do not fit"):
        cross_merge(torch.zeros(1, 4, 1, 6), (2, 4))
