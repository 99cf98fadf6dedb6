import pytest
import torch
from torch import nn

from lib.learning.recipes.synthesise import Synthesise


class Off(nn.Module):
    """Predicts a velocity that is off by 2 in half of the places."""

    def forward(self, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        right = torch.zeros_like(image)
        predicted = right.clone()
        predicted[..., : image.shape[-1] // 2] = 2.0
        return predicted, right


def test_the_loss_is_the_mean_square_of_what_is_off() -> None:
    batch = {"image": torch.rand(1, 3, 4, 4), "label": torch.zeros(1, 4, 4, dtype=torch.long)}
    assert Synthesise().step(Off(), batch)["loss"].item() == pytest.approx(2.0)


def test_grey_values_are_left_as_the_scanner_made_them() -> None:
    how = Synthesise().augmentation()
    assert how.noise_hu == how.offset_hu == how.prob == 0 and how.shift_fraction > 0
