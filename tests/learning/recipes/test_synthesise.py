import pytest
import torch
from torch import nn

from lib.learning.recipes.synthesise import Synthesise


class WrongVelocity(nn.Module):
    """Predict a velocity with an error of 2 in half of the pixels."""

    def forward(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        velocity = torch.zeros_like(image)
        predicted = velocity.clone()
        predicted[..., : image.shape[-1] // 2] = 2.0
        return predicted, velocity


def test_the_loss_is_the_mean_squared_error_of_the_velocity() -> None:
    batch = {"image": torch.rand(1, 3, 4, 4), "label": torch.zeros(1, 4, 4, dtype=torch.long)}
    assert Synthesise().step(WrongVelocity(), batch)["loss"].item() == pytest.approx(2.0)


def test_augmentation_does_not_change_intensities() -> None:
    augmentation = Synthesise().augmentation(None)
    assert augmentation.noise_sd == augmentation.offset == augmentation.prob == 0 and augmentation.shift_fraction > 0
