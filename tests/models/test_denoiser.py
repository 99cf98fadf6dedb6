"""The diffusion model: what it predicts, what it is told of labels, and that noise decides what it makes."""

import pytest
import torch

from lib.models.denoiser import Denoiser


def build(slices: int = 3, classes: int = 3) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(slices=slices, classes=classes, channels=(32, 32)).eval()


def label() -> torch.Tensor:
    marks = torch.zeros(2, 16, 16, dtype=torch.long)
    marks[0, 4:9, 4:9], marks[1, 2:6] = 2, 1
    return marks


def test_shapes_and_velocity() -> None:
    network, image = build(), torch.rand(2, 3, 16, 16)
    predicted, right = network(image, label())
    assert predicted.shape == right.shape == image.shape and right.std() > 0.3
    predicted.mean().backward()


def test_labels_are_one_channel_each_and_255_is_none() -> None:
    marks = label()
    marks[0, 0] = 255
    told = build()._marks(marks)
    assert told.shape == (2, 3, 16, 16) and told[0, :, 0].sum() == 0
    assert torch.equal(told[0, 2].bool(), marks[0] == 2) and (told[:, :, 1:].sum(1) == 1).all()


def test_the_same_noise_makes_the_same_image_in_the_window() -> None:
    network = build()
    with torch.no_grad():
        for parameter in network.unet.out.parameters():
            parameter.normal_(0, 0.1)
    made = [network.sample(label(), steps=3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert made[0].shape == (2, 3, 16, 16) and made[0].min() >= 0 and made[0].max() <= 1
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    other = network.sample(label().flip(0), steps=3, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(made[0], other), "the label is listened to"


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="a class at least"):
        Denoiser(slices=1, classes=1)
    with pytest.raises(ValueError, match="multiples of 2"):
        build().sample(torch.zeros(1, 15, 16, dtype=torch.long))
