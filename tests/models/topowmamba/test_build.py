"""Ablation options and stages of the builder, and basic behaviour of the network."""

import pytest
import torch
from torch import nn

from lib.models.topowmamba import TopoWMamba, topowmamba_tiny
from lib.models.topowmamba.scvss import SCVSSBlock
from lib.models.topowmamba.wmb import ResidualWaveletMixer, SplitWaveletMixer


def build(**overrides) -> TopoWMamba:
    return topowmamba_tiny(spatial_dims=2, in_channels=1, out_channels=2, **overrides)


def stages_with(network: nn.Module, kind: type) -> list[int]:
    assert isinstance(network, TopoWMamba)
    return [i for i, stage in enumerate(network.encoder.stages) if any(isinstance(m, kind) for m in stage.modules())]


@pytest.mark.parametrize(
    ("overrides", "wmb", "scvss"),
    [
        ({}, [1, 2, 3], [1, 2]),
        ({"use_wmb": False}, [], [1, 2]),
        ({"use_scvss": False}, [1, 2, 3], []),
        ({"use_wmb": False, "use_scvss": False}, [], []),
        ({"wmb_stages": (True, False, True, False), "stage_blocks": ("vss", "vss", "scvss", "conv")}, [0, 2], [2]),
    ],
)
def test_blocks_are_in_the_stages_that_the_arguments_name(overrides: dict, wmb: list[int], scvss: list[int]) -> None:
    network = build(**overrides)
    assert stages_with(network, ResidualWaveletMixer) == wmb
    assert stages_with(network, SCVSSBlock) == scvss


def test_the_wavelet_design_is_an_argument() -> None:
    assert stages_with(build(wmb_design="split"), SplitWaveletMixer) == [1, 2, 3]


def test_only_the_last_block_of_a_stage_is_scvss() -> None:
    blocks = build(depths=(1, 1, 3, 1)).encoder.stages[2][1:]
    assert [isinstance(block, SCVSSBlock) for block in blocks] == [False, False, True]


def test_deep_supervision_gives_four_scales_in_training_only() -> None:
    x = torch.rand(1, 1, 32, 48)
    network = build()
    assert [tuple(y.shape[2:]) for y in network.train()(x)] == [(32, 48), (16, 24), (8, 12), (4, 6)]
    assert network.eval()(x).shape == (1, 2, 32, 48)
    assert build(deep_supervision=False).train()(x).shape == (1, 2, 32, 48)


def test_the_first_scale_of_training_is_the_output_of_evaluation() -> None:
    x = torch.rand(1, 1, 32, 48)
    network = build(drop_path=0.0)
    torch.testing.assert_close(network.train()(x)[0], network.eval()(x))


def test_a_single_voxel_changes_the_logits_most_at_its_position() -> None:
    torch.manual_seed(0)
    network = build().eval()
    x = torch.zeros(1, 1, 64, 64)
    y = x.clone()
    y[..., 30, 17] = 1.0
    with torch.inference_mode():
        change = (network(y) - network(x)).abs().amax(dim=1)[0]
    row, column = divmod(int(change.argmax()), 64)
    assert abs(row - 30) <= 3 and abs(column - 17) <= 3


def test_logits_depend_on_the_value_of_a_constant_image() -> None:
    torch.manual_seed(0)
    network = build().eval()
    with torch.inference_mode():
        air, tissue = network(torch.zeros(1, 1, 32, 32)), network(torch.full((1, 1, 32, 32), 0.7))
    assert air.isfinite().all() and (air - tissue).abs().max() > 1e-3
