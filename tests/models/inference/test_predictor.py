"""The predictor agrees with networks whose logits are known at every voxel."""

import pytest
import torch
from torch import nn

from lib.models.inference.predictor import Predictor
from lib.ops.windows import add_window, window_starts


class Channels(nn.Module):
    """A pointwise network whose logits are the input channels and a constant 0.5, so tiling does not change them."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training and torch.is_inference_mode_enabled()
        self.shapes.append(tuple(x.shape))
        return torch.cat([x, torch.full_like(x[:, :1], 0.5)], dim=1)


def volume(*shape: int) -> torch.Tensor:
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("roi", [(16, 16), (8, 8), (10, 64), (6, 5, 4), (32, 32, 32), (7, 7, 1)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_windows_give_the_logits_of_the_whole_volume(roi: tuple[int, ...], batch_size: int) -> None:
    x = volume(17, 13, 11)
    predictor = Predictor(Channels(), roi=roi, batch_size=batch_size)
    expected = torch.cat([x, torch.full_like(x, 0.5)])
    torch.testing.assert_close(predictor.logits(x), expected)
    labels = predictor.labels(x)
    assert labels.dtype == torch.uint8 and labels.shape == x.shape[1:]
    assert torch.equal(labels, expected.argmax(dim=0).to(torch.uint8))


def test_slice_offsets_select_slices_and_repeat_the_edge() -> None:
    x = volume(5, 4, 6)
    logits = Predictor(Channels(), roi=(8, 8), slice_offsets=(-2, 0, 1)).logits(x)
    for channel, offset in enumerate((-2, 0, 1)):
        for z in range(6):
            assert torch.equal(logits[channel, ..., z], x[0, ..., min(max(z + offset, 0), 5)])


@pytest.mark.parametrize(("size", "whole"), [(16, True), (17, False)])
def test_a_slice_is_predicted_as_a_whole_up_to_the_largest_ratio(size: int, whole: bool) -> None:
    network = Channels()
    Predictor(network, roi=(10, 10), batch_size=4).labels(volume(size, 10, 6))
    assert network.shapes[0] == ((4, 1, size, 10) if whole else (4, 1, 10, 10))
    assert len(network.shapes) == (2 if whole else 2 * len(window_starts(size, 10, 0.25)))


@pytest.mark.parametrize("roi", [(16, 16), (8, 8, 4)])
def test_progress_increases_to_the_number_of_slices(roi: tuple[int, ...]) -> None:
    calls = []
    Predictor(Channels(), roi=roi, batch_size=2).labels(volume(9, 9, 9), progress=lambda *call: calls.append(call))
    assert calls == sorted(calls) and calls[-1] == (9, 9) and len(calls) > 1


def test_training_mode_is_restored() -> None:
    predictor = Predictor(Channels().train(), roi=(8, 8))
    predictor.labels(volume(4, 4, 2))
    assert predictor.network.training


def test_overlapping_windows_are_blended_smoothly() -> None:
    class Ramp(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linspace(0, 1, x.shape[-2])[:, None].expand(x.shape).clone()

    logits = Predictor(Ramp(), roi=(8, 8), overlap=0.5, fixed=True).logits(volume(16, 8, 1))
    # Without blending the ramp would fall from 1 to 0 in one step at the end of every window.
    assert logits[0, :, 0, 0].diff().abs().max() < 0.5


@pytest.mark.parametrize(("roi", "shape"), [((8, 8), (5, 12, 3)), ((8, 8, 6), (5, 12, 4))])
def test_a_network_with_a_fixed_size_gets_windows_of_that_size(roi: tuple[int, ...], shape: tuple[int, ...]) -> None:
    class FixedSize(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert tuple(x.shape[2:]) == roi
            return x

    logits = Predictor(FixedSize(), roi=roi, fixed=True).logits(volume(*shape))
    torch.testing.assert_close(logits, volume(*shape))


@pytest.mark.parametrize(("roi", "shape"), [((8, 8), (20, 18, 3)), ((8, 8, 6), (20, 18, 15))])
def test_running_out_of_memory_adds_a_note_and_changes_no_logit(roi: tuple[int, ...], shape: tuple[int, ...]) -> None:
    class Greedy(Channels):
        room = 99

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    network, notes = Greedy(), []
    volume = torch.rand(1, *shape)
    expected = Predictor(network, roi=roi, batch_size=4).logits(volume)
    network.room = 1
    predictor = Predictor(network, roi=roi, batch_size=4)
    slabs = [slab.clone() for _, slab in predictor.slabs(volume, notes=notes)]
    torch.testing.assert_close(torch.cat(slabs, -1), expected)
    assert predictor.engine.batch_size == 1 and any("memory ran out" in note for note in notes)


@pytest.mark.parametrize(("roi", "shape"), [((8, 8), (20, 18, 3)), ((8, 8, 6), (20, 18, 15))])
def test_windows_are_blended_on_the_cpu_if_memory_runs_out(
    roi: tuple[int, ...], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, notes, calls = volume(*shape), [], []
    expected = Predictor(Channels(), roi=roi, batch_size=2).logits(x)

    def add_window_with_one_error(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        add_window(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("lib.models.inference.slab.add_window", add_window_with_one_error)
    # The predictor treats "cpu:0" like a GPU, whose memory can run out.
    predictor = Predictor(Channels(), roi=roi, batch_size=2, device="cpu:0")
    slabs = [slab.clone() for _, slab in predictor.slabs(x, notes=notes)]
    assert torch.equal(torch.cat(slabs, -1), expected)
    assert notes == ["memory ran out: windows are put together on the processor"]
    assert predictor.blend_device == torch.device("cpu"), "the predictor keeps blending on the CPU"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi": (8,)}, "roi"),
        ({"roi": (8, 0)}, "roi"),
        ({"roi": (8, 8), "overlap": 1.0}, "overlap"),
        ({"roi": (8, 8), "batch_size": 0}, "batch_size"),
        ({"roi": (8, 8), "slice_offsets": ()}, "slice_offsets"),
    ],
)
def test_bad_arguments_raise(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor(Channels(), **options)


@pytest.mark.parametrize("shape", [(4, 4, 4), (1, 4, 4, 0)])
def test_volumes_of_another_shape_raise(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="volume"):
        Predictor(Channels(), roi=(4, 4)).labels(torch.zeros(shape))


class Identity(nn.Module):
    """A network whose logits are its input channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("size", [(8, 6), (30, 26)], ids=["whole", "windows"])
def test_channels_of_an_image_follow_each_other_slice_by_slice(size: tuple[int, int]) -> None:
    volume = torch.rand(2, *size, 5)
    logits = Predictor(Identity(), roi=(8, 6), slice_offsets=(-1, 0)).logits(volume)
    before = volume[..., [0, 0, 1, 2, 3]]
    torch.testing.assert_close(logits, torch.cat([before, volume]))


def test_channels_of_a_3d_network_are_those_of_the_image() -> None:
    volume = torch.rand(3, 9, 10, 7)
    torch.testing.assert_close(Predictor(Identity(), roi=(6, 6, 4)).logits(volume), volume)
