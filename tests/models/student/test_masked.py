"""The hidden fraction is exact, and the reconstruction depends on the visible samples only."""

import pytest
import torch

from lib.models import BUILDERS
from lib.models.student.masked import MaskedImages


def build(name: str = "student_conv", dims: int = 2, block: int = 16) -> MaskedImages:
    torch.manual_seed(0)
    student = BUILDERS[name](spatial_dims=dims, in_channels=2, out_channels=3)
    return MaskedImages(student, spatial_dims=dims, in_channels=2, block=block).eval()


@pytest.mark.parametrize(("name", "dims"), [("student_conv", 2), ("student_conv", 3), ("student_vit_tiny", 2)])
def test_image_and_mask_have_the_shape_of_the_input(name: str, dims: int) -> None:
    image = torch.rand(2, 2, *[48] * dims)
    reconstructed, mask = build(name, dims)(image, 0.5)
    assert reconstructed.shape == image.shape and mask.shape == (2, 1, *image.shape[2:]) and mask.dtype == torch.bool


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_the_same_number_of_blocks_is_hidden_in_every_image(fraction: float) -> None:
    _, mask = build()(torch.rand(5, 2, 64, 64), fraction)
    assert mask.flatten(1).float().mean(1).tolist() == [fraction] * 5
    blocks = mask.view(5, 4, 16, 4, 16).float().mean((2, 4))
    assert set(blocks.flatten().tolist()) == {0.0, 1.0}, "whole blocks"
    assert len({tuple(pattern.flatten().tolist()) for pattern in blocks}) > 1, "the blocks differ between images"


def test_hidden_samples_do_not_affect_the_reconstruction() -> None:
    network, image, noise = build(), torch.rand(1, 2, 64, 64), torch.rand(1, 2, 64, 64)
    torch.manual_seed(3)
    reconstructed, mask = network(image, 0.5)
    torch.manual_seed(3)
    other, _ = network(torch.where(mask, noise, image), 0.5)
    assert torch.equal(reconstructed, other)
    torch.manual_seed(3)
    other, _ = network(torch.where(mask, image, noise), 0.5)
    assert not torch.equal(reconstructed, other)
