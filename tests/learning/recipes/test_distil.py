"""The recipe distil: its losses and their weights, and the parameters it trains."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from lib.data.pipeline import ImageSpec
from lib.learning.losses.dice_ce import dice_ce_loss
from lib.learning.losses.distillation import distillation_loss, soft_dice_loss
from lib.learning.losses.imitation import imitation_loss
from lib.learning.recipes.distil import Distil
from lib.learning.recipes.finetune import Finetune
from lib.models import BUILDERS
from lib.models.student.imitation import Imitation
from tests.learning.two_processes import run_two_processes

TEACHER = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def batch(*, labelled: tuple[bool, bool] = (True, True)) -> dict[str, torch.Tensor]:
    """Return two images with a line of label 1; images that are not `labelled` have label 255."""
    label = torch.zeros(2, 8, 8, dtype=torch.long)
    label[:, 1:6, 3] = 1
    image = (label == 1).float()[:, None]
    label[[not has_label for has_label in labelled]] = 255
    return {"image": image, "label": label, "teacher": TEACHER, "seen": torch.ones(2, 8, 8, dtype=torch.bool)}


def test_the_loss_is_the_weighted_sum_of_all_terms() -> None:
    network, data, recipe = nn.Conv2d(1, 3, 1), batch(), Distil(soft_weight=0.5, label_weight=2.0, temperature=3.0)
    losses = recipe.step(network, data)
    logits = network(data["image"])
    soft = distillation_loss(logits, TEACHER, data["seen"], temperature=3.0).item()
    dice = soft_dice_loss(logits, TEACHER, data["seen"]).item()
    hard = dice_ce_loss(logits, data["label"]).item()
    assert losses["distillation"].item() == pytest.approx(soft) and losses["dice_ce"].item() == pytest.approx(hard)
    assert losses["soft_dice"].item() == pytest.approx(dice)
    assert losses["loss"].item() == pytest.approx(0.5 * (soft + dice) + 2 * hard)


def test_without_a_label_the_loss_has_only_the_terms_of_the_teacher() -> None:
    losses = Distil().step(nn.Conv2d(1, 3, 1), batch(labelled=(False, False)))
    soft = {"distillation", "soft_dice"}
    assert set(losses) == {"loss", *soft} and torch.equal(losses["loss"], sum(losses[name] for name in sorted(soft)))
    assert set(Distil(label_weight=0).step(nn.Conv2d(1, 3, 1), batch())) == {"loss", *soft}


@pytest.mark.parametrize("recipe", [Distil(), Distil(label_weight=0)])
def test_every_output_gets_a_gradient_without_a_label(recipe: Distil) -> None:
    """A process without a label must average the gradients of the same outputs as the others."""
    outputs = [torch.zeros(2, 3, size, size, requires_grad=True) for size in (8, 4)]
    recipe.step(_FixedLogits(outputs), batch(labelled=(False, False)))["loss"].backward()
    assert outputs[0].grad is not None and (outputs[0].grad != 0).any()
    assert outputs[1].grad is not None and (outputs[1].grad == 0).all()


def test_an_unlabelled_image_in_a_batch_gets_no_gradient_from_the_labels() -> None:
    """Its logits get a gradient from the teacher only."""
    data = batch(labelled=(True, False))
    logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    losses = Distil().step(_FixedLogits(logits), data)
    (gradient,) = torch.autograd.grad(losses["dice_ce"], logits)
    assert (gradient[1] == 0).all() and (gradient[0] != 0).any()


def test_a_student_with_the_logits_of_its_teacher_has_no_loss() -> None:
    logits = TEACHER.clone().requires_grad_()
    losses = Distil(label_weight=0).step(_FixedLogits(logits), batch())
    losses["loss"].backward()
    assert losses["loss"].item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_fine_tuning_follows_at_a_tenth_of_the_learning_rate() -> None:
    recipe = Distil(learning_rate=2e-3, batch_size=7, seed=5, finetune_epochs=4)
    later = recipe.next_recipe()
    assert later == Finetune(max_epochs=4, learning_rate=2e-4, batch_size=7, seed=5, warmup_steps=0)
    assert dataclasses.replace(recipe, finetune_epochs=0).next_recipe() is None


FLAT = ImageSpec((1, 1, 1), (-1000, 400), (32, 32), (-1, 1))


def small(name: str, channels: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return BUILDERS[name](spatial_dims=2, in_channels=channels, out_channels=3)


def test_the_encoder_weight_adds_the_imitation_loss_and_a_projection() -> None:
    student, teacher = small("student_conv"), small("student_topowmamba", 1)
    assert Distil().attach_teacher(student, teacher, FLAT, FLAT) is student
    recipe = Distil(encoder_weight=3.0, label_weight=0)
    pair = recipe.attach_teacher(student, teacher, FLAT, dataclasses.replace(FLAT, slice_offsets=(1,)))
    assert isinstance(pair, Imitation) and pair.channels == [1]
    recipe.select_parameters(pair)
    image, soft = torch.rand(2, 2, 32, 32), torch.randn(2, 3, 32, 32)
    data = {"image": image, "label": torch.full((2, 32, 32), 255), "teacher": soft,
            "seen": torch.ones(2, 32, 32, dtype=torch.bool)}  # fmt: skip
    losses = recipe.step(pair.eval(), data)
    views = pair(image, with_logits=True)
    distance = imitation_loss(views.student, views.teacher).item()
    assert losses["encoder"].item() == pytest.approx(distance)
    assert losses["loss"].item() == pytest.approx(
        losses["distillation"].item() + losses["soft_dice"].item() + 3 * distance
    )
    losses["loss"].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters()) and pair.projection.weight.grad is not None


def test_a_teacher_that_reads_other_slices_is_refused() -> None:
    recipe, other = Distil(encoder_weight=1.0), dataclasses.replace(FLAT, slice_offsets=(0,))
    with pytest.raises(ValueError, match="the teacher sees the slices"):
        recipe.attach_teacher(small("student_conv"), small("student_topowmamba", 1), FLAT, other)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", 0.0),
        ("soft_weight", 0.0),
        ("label_weight", -1.0),
        ("encoder_weight", -1.0),
        ("finetune_epochs", -1),
    ],
)
def test_invalid_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        Distil(**{option: value})


class _FixedLogits(nn.Module):
    def __init__(self, logits: torch.Tensor | list[torch.Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        return self.logits


TWO_PROCESSES = """
import sys, torch
from pathlib import Path
from lib.learning.loop import fit
from lib.learning.recipes.distil import Distil
from lib.models import BUILDERS
from tests.learning.loop.squares import ignore_progress

torch.set_num_threads(1)
rank = int(__import__("os").environ["RANK"])


class Halves(torch.utils.data.Dataset):
    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        label = torch.full((32, 32), 255)
        if rank == 0:
            label[:, :16], label[:, 16:] = 0, 1
        return {"image": torch.rand(1, 32, 32, generator=generator), "label": label,
                "teacher": torch.randn(3, 32, 32, generator=generator), "seen": torch.ones(32, 32, dtype=torch.bool)}


torch.manual_seed(0)
network = BUILDERS["dynunet_small"](spatial_dims=2, in_channels=1, out_channels=3, filters=(4, 4, 4, 8, 8))
recipe = Distil(max_epochs=2, patches_per_epoch=8, batch_size=2, finetune_epochs=0, label_weight=float(sys.argv[2]))
result = fit(recipe, network, Halves(), None, workdir=Path(sys.argv[1]) / "run", progress=ignore_progress, track=False)
torch.save({"weights": result.state_dict, "losses": sorted(result.history[-1])}, f"{sys.argv[1]}/{rank}.pt")
"""


@pytest.mark.slow
@pytest.mark.parametrize("label_weight", ["1", "0"])
def test_a_process_without_a_label_keeps_step_with_one_that_has_labels(tmp_path: Path, label_weight: str) -> None:
    """The coarser outputs of the student are compared with labels only; a process without a label left them unused."""
    first, second = run_two_processes(TWO_PROCESSES, tmp_path, label_weight)
    assert ("dice_ce" in first["losses"]) == (label_weight == "1") and "dice_ce" not in second["losses"]
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
