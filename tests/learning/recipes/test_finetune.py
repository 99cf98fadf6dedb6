"""The recipe finetune: its losses, their weights, and their gradients."""

import pytest
import torch
from torch import nn

from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.losses.skeleton_recall import SkeletonTargets
from lib.learning.recipes.finetune import Finetune, covered_softmax


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


ALL_TERMS = Finetune(cl_dice_weight=0.5, skeleton_weight=0.5)


def test_no_term_changes_where_voxels_of_uncovered_classes_would_be() -> None:
    """Class 2 is covered in no sample: moving probability between it and the background changes no term."""
    torch.manual_seed(0)
    data = batch()
    data["label"][data["label"] == 2] = 0
    data |= {"skeleton": data["skeleton"] * (data["label"] == 1), "covered": torch.tensor([[True, True, False]] * 2)}
    logits = torch.randn(2, 3, 8, 8)
    other = logits[:, [2, 1, 0]]  # what was background is now class 2
    for name, value in ALL_TERMS.step(lambda _: logits, data).items():  # type: ignore[arg-type]
        assert ALL_TERMS.step(lambda _: other, data)[name].item() == pytest.approx(value.item(), abs=1e-6)  # type: ignore[arg-type]


def test_ignored_voxels_change_no_term() -> None:
    torch.manual_seed(0)
    data, logits = batch(), torch.randn(2, 3, 8, 8)
    other = logits.clone()
    other[0, :, 0] = torch.randn(3, 8) * 9
    losses, changed = (ALL_TERMS.step(lambda _, out=out: out, data) for out in (logits, other))  # type: ignore[arg-type]
    for name in ("loss", "dice_ce", "cl_dice", "skeleton_recall"):
        assert losses[name].item() == pytest.approx(changed[name].item(), abs=1e-6), name


def test_the_softmax_of_covered_classes_sums_to_one() -> None:
    logits = torch.randn(2, 3, 4, 4)
    prob = covered_softmax(logits, torch.tensor([[True, False, True], [True, True, True]]))
    assert torch.allclose(prob.sum(1), torch.ones(2, 4, 4)) and (prob[0, 1] == 0).all()


def discs_and_bars(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images with a bright disc (class 1) and a dark bar (class 2) at random places, and their labels."""
    random = torch.Generator().manual_seed(seed)
    x, y = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    images, labels = [], []
    for _ in range(count):
        at = torch.randint(4, 20, (4,), generator=random)
        disc = (x - at[0]) ** 2 + (y - at[1]) ** 2 < 14
        bar = ((x - at[2]).abs() < 2) & ((y - at[3]).abs() < 6) & ~disc
        label = torch.where(disc, 1, 0) + torch.where(bar, 2, 0)
        images.append(disc.float() - bar.float() + 0.4 * torch.randn(24, 24, generator=random))
        labels.append(label)
    return torch.stack(images)[:, None], torch.stack(labels)


def learned_dice(*, partial: bool) -> list[float]:
    """Return the Dice of both classes on new images after training; with `partial`, each label covers one class."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 3, 1),
    ]
    network, recipe = nn.Sequential(*layers), Finetune()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    image, label = discs_and_bars(0, 32)
    covered = torch.ones(32, 3, dtype=torch.bool)
    if partial:
        covered[::2, 2], covered[1::2, 1] = False, False
        label[::2][label[::2] == 2], label[1::2][label[1::2] == 1] = 0, 0
    for step in range(120):
        index = torch.arange(8) + 8 * (step % 4)
        data = {"image": image[index], "label": label[index]} | ({"covered": covered[index]} if partial else {})
        optimizer.zero_grad()
        recipe.step(network, data)["loss"].backward()
        optimizer.step()
    image, label = discs_and_bars(1, 16)
    found = network(image).argmax(1)
    return [
        2 * ((found == c) & (label == c)).sum().item() / ((found == c).sum() + (label == c).sum()).item()
        for c in (1, 2)
    ]


def test_labels_of_one_class_each_teach_about_as_well_as_labels_of_both() -> None:
    whole, partial = learned_dice(partial=False), learned_dice(partial=True)
    assert min(whole) > 0.8
    assert all(one > other - 0.05 for one, other in zip(partial, whole, strict=True)), (whole, partial)
