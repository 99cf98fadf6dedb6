import pytest
import torch
from torch import nn

from lib.learning.recipes.mae import MAE
from lib.models import BUILDERS
from lib.models.student.masked import MaskedImages


class ConstantPrediction(nn.Module):
    """Predict 0.5 everywhere; the left half is masked."""

    def forward(self, image: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        masked = torch.zeros(len(image), 1, *image.shape[2:], dtype=torch.bool)
        masked[..., : image.shape[3] // 2] = True
        return torch.full_like(image, 0.5), masked


def test_only_masked_blocks_have_a_loss() -> None:
    image = torch.zeros(2, 3, 4, 4)
    image[..., 2:] = 9.0
    assert MAE().step(ConstantPrediction(), {"image": image})["loss"].item() == pytest.approx(0.5)


def test_a_network_learns_to_reconstruct_masked_blocks() -> None:
    torch.manual_seed(0)
    student = BUILDERS["student_conv"](spatial_dims=2, in_channels=1, out_channels=2)
    network = MaskedImages(student, spatial_dims=2, in_channels=1).train()
    image = torch.linspace(0, 1, 64).expand(4, 1, 64, 64).contiguous()
    optimiser, losses = torch.optim.Adam(network.parameters(), 1e-2), []
    for _ in range(25):
        optimiser.zero_grad()
        loss = MAE().step(network, {"image": image})["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_zero_or_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="option share must lie in"):
        MAE(share=share)
