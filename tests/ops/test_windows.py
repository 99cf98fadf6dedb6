"""Windows cover an axis with weights that add up to 1, and blending overwrites an uninitialised slab."""

import pytest
import torch

from lib.ops.native import slab as native
from lib.ops.windows import add_window, spans, window_starts


@pytest.mark.parametrize(
    ("size", "window", "overlap", "starts"),
    [(10, 10, 0.25, [0]), (11, 10, 0.25, [0, 1]), (20, 8, 0.5, [0, 4, 8, 12]), (5, 1, 0.9, [0, 1, 2, 3, 4])],
)
def test_window_starts(size: int, window: int, overlap: float, starts: list[int]) -> None:
    assert window_starts(size, window, overlap) == starts


@pytest.mark.parametrize(("size", "window", "overlap"), [(10, 10, 0.25), (33, 9, 0.25), (64, 16, 0.8), (5, 1, 0.0)])
def test_weights_are_positive_and_add_up_to_one(size: int, window: int, overlap: float) -> None:
    total, covered = torch.zeros(size), torch.zeros(size, dtype=torch.bool)
    for span in spans(size, window, overlap):
        assert span.weights.shape == (window,) and span.weights.min() > 0
        assert covered[span.side][: span.overlap].all() and not covered[span.side][span.overlap :].any()
        total[span.side] += span.weights
        covered[span.side] = True
    torch.testing.assert_close(total, torch.ones(size))
    assert covered.all()


@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (3, 0, 1, 2), (1, 2, 3, 0)], ids=["Z", "Y", "K"])
@pytest.mark.parametrize("kernel", [True, False])
def test_a_window_is_added_in_the_overlap_and_written_elsewhere(
    layout: tuple[int, ...], kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr(native, "supports", lambda *tensors: False)
    generator = torch.Generator().manual_seed(0)
    sizes, overlap = (3, 5, 21, 18), (2, 9, 4)
    weights = [torch.rand(size, generator=generator) for size in sizes[1:]]
    window, before = torch.randn(2, *sizes, generator=generator)
    corner = (slice(None), *(slice(start, None) for start in overlap))
    memory = torch.full((sizes[3], sizes[0], 8, 30), float("nan"))
    slab = memory.permute(1, 2, 3, 0)[:, 1:6, 4:25]
    slab.copy_(before)
    slab[corner] = float("nan")
    expected = window * torch.einsum("x,y,z->xyz", *weights)
    before[corner] = 0
    inverse = sorted(range(4), key=lambda axis: layout[axis])
    add_window(slab, window.permute(layout).contiguous().permute(inverse), weights, overlap)
    torch.testing.assert_close(slab, before + expected)
    assert memory.isnan().sum() == memory.numel() - slab.numel(), "memory outside the window is unchanged"
