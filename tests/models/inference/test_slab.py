"""A slab blends windows into the volume, also if memory runs out in between."""

import pytest
import torch
from torch import nn

from lib.models.inference import slab as module
from lib.models.inference.engine import Engine
from lib.models.inference.slab import Slab, WindowPosition
from lib.ops.windows import Span, add_window, spans


def window_positions(z: Span) -> list[WindowPosition]:
    return [WindowPosition(x, y, z) for x in spans(20, 8, 0.25) for y in spans(13, 8, 0.25)]


def images(volume: torch.Tensor, positions: list[WindowPosition]) -> torch.Tensor:
    return torch.stack([volume[:, position.x.side, position.y.side, position.z.side] for position in positions])


def test_blended_windows_equal_the_volume() -> None:
    volume = torch.randn(2, 20, 13, 11, generator=torch.Generator().manual_seed(0))
    slab, parts = Slab(Engine(nn.Identity()), (20, 13), 6, torch.device("cpu")), []
    layers = spans(11, 6, 0.5)
    for layer, next_start in zip(layers, [*(following.start for following in layers[1:]), 11], strict=True):
        positions = window_positions(layer)
        slab.add(images(volume, positions), positions, [])
        parts.append(slab.logits[..., : min(next_start - layer.start, 6)].clone())
        slab.advance(min(next_start - layer.start, 6))
    torch.testing.assert_close(torch.cat(parts, -1), volume)


@pytest.mark.parametrize("fails_at", [0, 1, 4])
def test_running_out_of_memory_moves_the_slab_to_the_cpu_and_adds_no_window_twice(
    fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, positions, notes, calls = torch.randn(1, 20, 13, 5), window_positions(spans(5, 5, 0.0)[0]), [], []

    def add_window_with_one_error(target: torch.Tensor, *arguments: object) -> None:
        calls.append(target)
        if len(calls) == fails_at + 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        add_window(target, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "add_window", add_window_with_one_error)
    slab = Slab(Engine(nn.Identity(), batch_size=8), (20, 13), 5, torch.device("cpu"))
    slab.device = torch.device("cpu", 0)
    slab.add(images(volume, positions), positions, notes)
    torch.testing.assert_close(slab.logits, volume)
    assert notes == ["memory ran out: windows are put together on the processor"]
    assert slab.device == torch.device("cpu")
