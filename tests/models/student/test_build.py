"""Named sizes of students."""

import pytest
import torch

from lib.models import BUILDERS


@pytest.mark.parametrize(
    ("name", "millions"),
    [("student_conv", (0.2, 0.6)), ("student_vit_tiny", (5.5, 6.0)), ("student_topowmamba", (0.1, 0.4))],
)
def test_the_number_of_parameters(name: str, millions: tuple[float, float]) -> None:
    network = BUILDERS[name](spatial_dims=2, in_channels=7, out_channels=6)
    assert millions[0] < sum(p.numel() for p in network.parameters()) / 1e6 < millions[1]


def test_the_small_topowmamba_has_no_deep_supervision() -> None:
    network = BUILDERS["student_topowmamba"](spatial_dims=2, in_channels=2, out_channels=3).train()
    assert isinstance(network(torch.rand(1, 2, 32, 32)), torch.Tensor)


def test_the_transformer_accepts_slices_only() -> None:
    with pytest.raises(ValueError, match="spatial_dims must be 2"):
        BUILDERS["student_vit_tiny"](spatial_dims=3, in_channels=1, out_channels=2)
