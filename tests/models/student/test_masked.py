"""What is hidden, how much of it, and that the guess comes from the rest."""

import pytest
import torch

from lib.models import BUILDERS
from lib.models.student.masked import MaskedImages


def build(name: str = "student_conv", dims: int = 2, block: int = 16) -> MaskedImages:
    torch.manual_seed(0)
    student = BUILDERS[name](spatial_dims=dims, in_channels=2, out_channels=3)
    return MaskedImages(student, spatial_dims=dims, in_channels=2, block=block).eval()


@pytest.mark.parametrize(("name", "dims"), [("student_conv", 2), ("student_conv", 3), ("student_vit_tiny", 2)])
def test_shapes(name: str, dims: int) -> None:
    image = torch.rand(2, 2, *[48] * dims)
    guessed, where = build(name, dims)(image, 0.5)
    assert guessed.shape == image.shape and where.shape == (2, 1, *image.shape[2:]) and where.dtype == torch.bool


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_as_many_blocks_are_hidden_in_every_image(share: float) -> None:
    _, where = build()(torch.rand(5, 2, 64, 64), share)
    assert where.flatten(1).float().mean(1).tolist() == [share] * 5
    blocks = where.view(5, 4, 16, 4, 16).float().mean((2, 4))
    assert set(blocks.flatten().tolist()) == {0.0, 1.0}, "whole blocks"
    assert len({tuple(each.flatten().tolist()) for each in blocks}) > 1, "drawn for each image"


def test_what_is_hidden_is_not_seen() -> None:
    network, image, noise = build(), torch.rand(1, 2, 64, 64), torch.rand(1, 2, 64, 64)
    torch.manual_seed(3)
    guessed, where = network(image, 0.5)
    torch.manual_seed(3)
    other, _ = network(torch.where(where, noise, image), 0.5)
    assert torch.equal(guessed, other)
    torch.manual_seed(3)
    other, _ = network(torch.where(where, image, noise), 0.5)
    assert not torch.equal(guessed, other)
