"""The engine: the same logits whatever the batch, fewer images where memory runs out, an error if one is too many."""

import pytest
import torch
from torch import nn

from lib.models.inference.engine import CPU_BATCH, Engine


class Greedy(nn.Module):
    """Double the image, with memory for so many images at once."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        # A processor's memory cannot be made to run out kindly, so the fault is raised by hand.
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * x


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("room", "settles_at"), [(8, 4), (3, 2), (2, 2), (1, 1)])
def test_out_of_memory_halves_the_batch_and_says_so(room: int, settles_at: int) -> None:
    network, notes = Greedy(room), []
    engine = Engine(network, batch_size=4)
    torch.testing.assert_close(engine(images(7), notes), 2 * images(7))
    assert engine.batch_size == settles_at and len(notes) == {4: 0, 2: 1, 1: 2}[settles_at]
    assert all("memory ran out" in note for note in notes)
    before = len(network.sizes)
    engine(images(7), notes)
    assert max(network.sizes[before:]) == settles_at, "what was learnt about the memory is kept"


def test_one_image_too_many_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Engine(Greedy(0), batch_size=4)(images(2))


def test_the_default_on_a_processor() -> None:
    engine = Engine(Greedy(99))
    assert engine.batch(images(1)[0]) == CPU_BATCH and engine(images(9)).shape == (9, 1, 4, 4)


@pytest.mark.gpu
def test_a_gpu_compiles_fills_batches_up_and_agrees_with_the_processor() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    expected = network(images(5))
    engine = Engine(network, "cuda", batch_size=4)
    for _ in range(3):
        torch.testing.assert_close(engine(images(5)).cpu(), expected, atol=3e-2, rtol=3e-2)
    assert 1 <= Engine(network, "cuda").batch(images(1)[0]) <= 32
