"""The encoder returns the features of every stage, finest first."""

import torch
from torch import nn

from lib.models.topowmamba.encoder import Encoder


def halve(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 2, stride=2)


def test_features_are_finest_first_and_full_and_stem_get_the_image() -> None:
    encoder = Encoder(nn.Identity(), halve(3, 4), [halve(4, 5), halve(5, 6)])
    image = torch.randn(2, 3, 16, 8)
    features = encoder(image)
    assert [tuple(feature.shape) for feature in features] == [(2, 3, 16, 8), (2, 4, 8, 4), (2, 5, 4, 2), (2, 6, 2, 1)]
    assert torch.equal(features[0], image)
    assert torch.equal(features[3], encoder.stages[1](features[2])), "a stage gets the features of the stage before"
