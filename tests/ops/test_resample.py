"""The class between samples is that of interpolating every logit, and no probabilities are needed to find it."""

import pytest
import torch

from lib.ops.native import slab
from lib.ops.resample import Positions, interpolated_argmax, running_argmax


def dense(logits: torch.Tensor, rows: Positions, columns: Positions) -> torch.Tensor:
    """Interpolate every logit, then take the class; float64."""
    x = logits.double()
    down, across = rows.share.double()[:, None], columns.share.double()
    x = x[:, rows.low] * (1 - down) + x[:, rows.high] * down
    x = x[..., columns.low] * (1 - across) + x[..., columns.high] * across
    return x.argmax(0).to(torch.uint8)


def test_running_argmax_is_argmax() -> None:
    logits = torch.randn(7, 5, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(running_argmax(logits), logits.argmax(0).to(torch.uint8))


def test_running_argmax_takes_the_first_of_equals() -> None:
    logits = torch.tensor([[1.0, 0.0, 2.0], [1.0, 3.0, 2.0], [0.0, 3.0, 5.0]])
    assert running_argmax(logits).tolist() == [0, 1, 2]


@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize(
    ("size", "target"), [((9, 12), (31, 17)), ((12, 9), (5, 8)), ((1, 7), (1, 20)), ((4, 1), (9, 3))]
)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("native", [True, False])
def test_interpolated_argmax_is_that_of_every_logit(
    classes: int,
    size: tuple[int, int],
    target: tuple[int, int],
    share: float,
    order: tuple[int, ...],
    native: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(classes)
    # Broad blobs, so that some cells agree and some do not.
    logits = torch.nn.functional.avg_pool2d(torch.randn(2, classes, *size, generator=generator), 3, 1, 1)
    back = sorted(range(3), key=lambda axis: order[axis])
    below, above = (each.permute(order).contiguous().permute(back) for each in logits)
    rows, columns = (
        Positions.at(torch.linspace(-0.7, n - 0.2, m, dtype=torch.float64), n)
        for n, m in zip(size, target, strict=True)
    )
    if not native:
        monkeypatch.setattr(slab, "serves", lambda *tensors: False)
    found = interpolated_argmax(below, above, share, rows, columns)
    assert torch.equal(found, dense(torch.lerp(below, above, share), rows, columns))


def test_positions_outside_take_the_end() -> None:
    positions = Positions.at(torch.tensor([-2.0, 0.0, 1.25, 3.0, 9.0]), 4)
    where = positions.low + positions.share
    assert where.tolist() == [0.0, 0.0, 1.25, 3.0, 3.0]
    assert positions.high.max() == 3
    assert positions.nearest.tolist() == [0, 0, 1, 3, 3]


def test_positions_on_one_sample() -> None:
    positions = Positions.at(torch.tensor([-1.0, 0.0, 5.0]), 1)
    assert positions.low.tolist() == positions.high.tolist() == [0, 0, 0]
    assert positions.share.tolist() == [0, 0, 0]
