"""The diffusion model predicts velocities, and its samples depend on the labels and the noise."""

import pytest
import torch

from lib.models.denoiser import Denoiser


def build(slices: int = 3, classes: int = 3) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(slices=slices, classes=classes, channels=(32, 32)).eval()


def label() -> torch.Tensor:
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[0, 4:9, 4:9], labels[1, 2:6] = 2, 1
    return labels


def test_the_prediction_has_the_shape_of_the_velocity() -> None:
    network, image = build(), torch.rand(2, 3, 16, 16)
    predicted, target = network(image, label())
    assert predicted.shape == target.shape == image.shape and target.std() > 0.3
    predicted.mean().backward()


def test_labels_become_one_channel_per_class_and_255_becomes_none() -> None:
    labels = label()
    labels[0, 0] = 255
    one_hot = build()._one_hot(labels)
    assert one_hot.shape == (2, 3, 16, 16) and one_hot[0, :, 0].sum() == 0
    assert torch.equal(one_hot[0, 2].bool(), labels[0] == 2) and (one_hot[:, :, 1:].sum(1) == 1).all()


def test_samples_depend_on_noise_and_labels_and_are_in_the_unit_interval() -> None:
    network = build()
    with torch.no_grad():
        for parameter in network.unet.out.parameters():
            parameter.normal_(0, 0.1)
    samples = [network.sample(label(), steps=3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert samples[0].shape == (2, 3, 16, 16) and samples[0].min() >= 0 and samples[0].max() <= 1
    assert torch.equal(samples[0], samples[1]) and not torch.equal(samples[0], samples[2])
    other = network.sample(label().flip(0), steps=3, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(samples[0], other), "the samples depend on the labels"


def test_bad_arguments_raise() -> None:
    with pytest.raises(ValueError, match="classes must be at least 2"):
        Denoiser(slices=1, classes=1)
    with pytest.raises(ValueError, match="multiples of 2"):
        build().sample(torch.zeros(1, 15, 16, dtype=torch.long))
