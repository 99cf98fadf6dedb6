"""A slab put together from windows: room that runs out half-way changes nothing, and nothing is added twice."""

import pytest
import torch
from torch import nn

from lib.models.inference import slab as module
from lib.models.inference.engine import Engine
from lib.models.inference.slab import Place, Slab
from lib.ops.windows import Span, add_window, spans


def places(z: Span) -> list[Place]:
    return [Place(x, y, z) for x in spans(20, 8, 0.25) for y in spans(13, 8, 0.25)]


def images(volume: torch.Tensor, where: list[Place]) -> torch.Tensor:
    return torch.stack([volume[:, place.x.side, place.y.side, place.z.side] for place in where])


def test_windows_become_the_volume_and_move_along() -> None:
    volume = torch.randn(2, 20, 13, 11, generator=torch.Generator().manual_seed(0))
    slab, parts = Slab(Engine(nn.Identity()), (20, 13), 6, torch.device("cpu")), []
    layers = spans(11, 6, 0.5)
    for layer, after in zip(layers, [*(each.start for each in layers[1:]), 11], strict=True):
        where = places(layer)
        slab.add(images(volume, where), where, [])
        parts.append(slab.logits[..., : min(after - layer.start, 6)].clone())
        slab.move(min(after - layer.start, 6))
    torch.testing.assert_close(torch.cat(parts, -1), volume)


@pytest.mark.parametrize("fails_at", [0, 1, 4])
def test_no_room_for_the_sum_moves_it_to_the_processor_and_adds_nothing_twice(
    fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, where, notes, calls = torch.randn(1, 20, 13, 5), places(spans(5, 5, 0.0)[0]), [], []

    def greedy(target: torch.Tensor, *arguments: object) -> None:
        calls.append(target)
        if len(calls) == fails_at + 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        add_window(target, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "add_window", greedy)
    slab = Slab(Engine(nn.Identity(), batch_size=8), (20, 13), 5, torch.device("cpu"))
    slab.device = torch.device("cpu", 0)
    slab.add(images(volume, where), where, notes)
    torch.testing.assert_close(slab.logits, volume)
    assert notes == ["memory ran out: windows are put together on the processor"]
    assert slab.device == torch.device("cpu")
