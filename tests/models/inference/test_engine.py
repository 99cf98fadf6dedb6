"""The engine reduces the batch if memory runs out, with the same logits, and raises if one image does not fit."""

import contextlib

import pytest
import torch
from torch import nn

from lib.learning.loop.session import _amp_dtype
from lib.models.inference.engine import CPU_BATCH, Engine, has_bfloat16_units


class Greedy(nn.Module):
    """A network that doubles images and has memory for `room` images at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        # Raise the error explicitly, because running out of CPU memory would end the process.
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * x


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("room", "final_size"), [(8, 4), (3, 2), (2, 2), (1, 1)])
def test_out_of_memory_halves_the_batch_and_adds_a_note(room: int, final_size: int) -> None:
    network, notes = Greedy(room), []
    engine = Engine(network, batch_size=4)
    torch.testing.assert_close(engine(images(7), notes), 2 * images(7))
    assert engine.batch_size == final_size and len(notes) == {4: 0, 2: 1, 1: 2}[final_size]
    assert all("memory ran out" in note for note in notes)
    before = len(network.sizes)
    engine(images(7), notes)
    assert max(network.sizes[before:]) == final_size, "the reduced batch size is kept"


def test_memory_too_small_for_one_image_raises() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Engine(Greedy(0), batch_size=4)(images(2))


def test_the_default_batch_size_on_a_cpu() -> None:
    engine = Engine(Greedy(99))
    assert engine.batch(images(1)[0]) == CPU_BATCH and engine(images(9)).shape == (9, 1, 4, 4)


def test_bfloat16_is_used_only_where_the_gpu_has_units_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch reports bfloat16 as supported on GPUs that emulate it."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bfloat16_units()
    engine = Engine(Greedy(9))
    engine.device = torch.device("cuda")
    assert isinstance(engine._precision(), contextlib.nullcontext) and _amp_dtype() == torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert has_bfloat16_units() and _amp_dtype() == torch.bfloat16


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    expected = network(images(5))
    engine = Engine(network, "cuda", batch_size=4)
    for _ in range(3):
        torch.testing.assert_close(engine(images(5)).cpu(), expected, atol=3e-2, rtol=3e-2)
    assert 1 <= Engine(network, "cuda").batch(images(1)[0]) <= 32
