"""The class between samples equals the result of interpolating every logit."""

import pytest
import torch

from lib.ops.native import slab
from lib.ops.resample import Positions, interpolated_argmax, running_argmax


def interpolate_every_logit(logits: torch.Tensor, rows: Positions, columns: Positions) -> torch.Tensor:
    """Interpolate every logit in float64 and return the class of the largest."""
    x = logits.double()
    down, across = rows.fraction.double()[:, None], columns.fraction.double()
    x = x[:, rows.low] * (1 - down) + x[:, rows.high] * down
    x = x[..., columns.low] * (1 - across) + x[..., columns.high] * across
    return x.argmax(0).to(torch.uint8)


def test_running_argmax_is_argmax() -> None:
    logits = torch.randn(7, 5, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(running_argmax(logits), logits.argmax(0).to(torch.uint8))


def test_running_argmax_returns_the_first_of_equal_classes() -> None:
    logits = torch.tensor([[1.0, 0.0, 2.0], [1.0, 3.0, 2.0], [0.0, 3.0, 5.0]])
    assert running_argmax(logits).tolist() == [0, 1, 2]


@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize(
    ("size", "target"), [((9, 12), (31, 17)), ((12, 9), (5, 8)), ((1, 7), (1, 20)), ((4, 1), (9, 3))]
)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("native", [True, False])
def test_interpolated_argmax_equals_interpolating_every_logit(
    classes: int,
    size: tuple[int, int],
    target: tuple[int, int],
    fraction: float,
    order: tuple[int, ...],
    native: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(classes)
    # Smooth the logits, so that some cells have a single class and some do not.
    logits = torch.nn.functional.avg_pool2d(torch.randn(2, classes, *size, generator=generator), 3, 1, 1)
    inverse = sorted(range(3), key=lambda axis: order[axis])
    below, above = (plane.permute(order).contiguous().permute(inverse) for plane in logits)
    rows, columns = (
        Positions.at(torch.linspace(-0.7, n - 0.2, m, dtype=torch.float64), n)
        for n, m in zip(size, target, strict=True)
    )
    if not native:
        monkeypatch.setattr(slab, "supports", lambda *tensors: False)
    found = interpolated_argmax(below, above, fraction, rows, columns)
    assert torch.equal(found, interpolate_every_logit(torch.lerp(below, above, fraction), rows, columns))


def test_positions_outside_the_axis_take_its_end() -> None:
    positions = Positions.at(torch.tensor([-2.0, 0.0, 1.25, 3.0, 9.0]), 4)
    coordinates = positions.low + positions.fraction
    assert coordinates.tolist() == [0.0, 0.0, 1.25, 3.0, 3.0]
    assert positions.high.max() == 3
    assert positions.nearest.tolist() == [0, 0, 1, 3, 3]


def test_positions_on_one_sample() -> None:
    positions = Positions.at(torch.tensor([-1.0, 0.0, 5.0]), 1)
    assert positions.low.tolist() == positions.high.tolist() == [0, 0, 0]
    assert positions.fraction.tolist() == [0, 0, 0]
