"""VM-UNet has the published number of parameters, and its skips carry information."""

import torch

from lib.models.vmunet import vmunet


def test_the_number_of_parameters_is_the_published_one() -> None:
    with torch.device("meta"):
        network = vmunet(spatial_dims=2, in_channels=3, out_channels=9)
    assert sum(p.numel() for p in network.parameters()) == 27_427_761


def test_skips_carry_information_without_the_deepest_stage() -> None:
    torch.manual_seed(0)
    network = vmunet(spatial_dims=2, in_channels=1, out_channels=2, dims=(8, 16, 32, 64), d_state=1).eval()
    torch.nn.init.zeros_(network.expands[0].expand.weight)
    with torch.inference_mode():
        first, second = network(torch.rand(2, 1, 32, 32))
    assert not torch.equal(first, second)
