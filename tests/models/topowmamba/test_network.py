"""The network accepts images of any size, and returns a list of logits in training only."""

import pytest
import torch

from lib.models.topowmamba.build import topowmamba
from lib.models.topowmamba.network import TopoWMamba


def build(*, deep_supervision: bool = True) -> TopoWMamba:
    torch.manual_seed(0)
    return topowmamba(
        spatial_dims=2,
        in_channels=1,
        out_channels=3,
        channels=(4, 8, 8, 8, 8),
        full_channels=4,
        depths=(1, 1, 1, 1),
        d_state=1,
        deep_supervision=deep_supervision,
    )


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (1, 70)])
def test_logits_have_the_size_of_the_image(shape: tuple[int, int]) -> None:
    assert build().eval()(torch.randn(1, 1, *shape)).shape == (1, 3, *shape)


def test_training_gives_four_scales_and_evaluation_the_finest() -> None:
    network, image = build(), torch.randn(2, 1, 33, 47)
    outputs = network.train()(image)
    assert [tuple(output.shape[2:]) for output in outputs] == [(33, 47), (17, 24), (9, 12), (5, 6)]
    assert isinstance(network.eval()(image), torch.Tensor)


def test_without_deep_supervision_training_gives_one_tensor() -> None:
    assert isinstance(build(deep_supervision=False).train()(torch.randn(2, 1, 32, 32)), torch.Tensor)
