"""The recipe finetune: its losses, their weights, and their gradients."""

import pytest
import torch
from torch import nn

from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.losses.skeleton_recall import SkeletonTargets
from lib.learning.recipes.finetune import Finetune


class TwoScales(nn.Module):
    """Network with logits at two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        logits = self.head(image)
        return [logits, logits[..., ::2, ::2]]


def batch() -> dict[str, torch.Tensor]:
    """Return two images with a vertical line of label 1 that becomes label 2."""
    label = torch.zeros(2, 8, 8, dtype=torch.long)
    label[:, 1:4, 3], label[:, 4:7, 3] = 1, 2
    label[0, 0] = 255
    skeleton = torch.where(label == 255, 0, label)
    return {"image": (label == 1).float()[:, None], "label": label, "skeleton": skeleton}


def test_with_one_scale_the_loss_is_dice_ce() -> None:
    network, data = nn.Conv2d(1, 3, 1), batch()
    losses = Finetune().step(network, data)
    assert set(losses) == {"loss", "dice_ce"}
    assert losses["loss"].item() == pytest.approx(dice_ce_loss(network(data["image"]), data["label"]).item())


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        (Finetune(cl_dice_weight=0.5), {"cl_dice"}),
        (Finetune(skeleton_weight=0.5), {"skeleton_recall"}),
        (Finetune(cl_dice_weight=0.5, skeleton_weight=0.25), {"cl_dice", "skeleton_recall"}),
    ],
)
def test_optional_terms_add_up_with_their_weights_and_have_a_gradient(recipe: Finetune, names: set[str]) -> None:
    torch.manual_seed(0)
    network = TwoScales()
    losses = recipe.step(network, batch())
    weights = {"cl_dice": recipe.cl_dice_weight, "skeleton_recall": recipe.skeleton_weight, "dice_ce": 1.0}
    assert set(losses) == {"loss", "dice_ce"} | names
    total = sum(weights[name] * value.item() for name, value in losses.items() if name != "loss")
    assert losses["loss"].item() == pytest.approx(total, abs=1e-6)
    for name in names:
        network.zero_grad()
        losses[name].backward(retain_graph=True)
        assert network.head.weight.grad is not None and network.head.weight.grad.abs().sum() > 0


def test_skeletons_are_computed_only_with_a_skeleton_weight() -> None:
    patches = torch.utils.data.TensorDataset(torch.zeros(1))
    assert Finetune().wrap_patches(patches) is patches
    assert isinstance(Finetune(skeleton_weight=1.0).wrap_patches(patches), SkeletonTargets)
