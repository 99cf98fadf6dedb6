"""Arms of an experiment: initial weights, recipes, numbers of training images, and scores."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.learning.experiment import arms as module
from lib.learning.experiment.arms import ArmTrainer
from lib.learning.experiment.plan import ARMS, Plan
from lib.learning.experiment.pool import load_pool
from lib.learning.recipes.distil import Distil
from lib.learning.recipes.finetune import Finetune
from lib.learning.recipes.imitate import Imitate
from lib.learning.recipes.mae import MAE
from lib.learning.recipes.moco import MoCo
from lib.learning.recipes.recipe import Recipe
from lib.ops.mirror import Mirroring


@pytest.fixture
def make_trainer(make_plan: Callable[..., Plan], tmp_path: Path) -> Callable[..., ArmTrainer]:
    def build(seed: int = 0, **changes: object) -> ArmTrainer:
        plan = make_plan(**changes)
        (tmp_path / "shared").mkdir(exist_ok=True)
        return ArmTrainer(plan, load_pool(plan, tmp_path), seed, tmp_path / "shared")

    return build


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, int]]:
    """Record every recipe that is trained, with the number of its training cases."""
    calls: list[tuple[Recipe, int]] = []
    real = module.fit

    def fit(recipe: Recipe, network: torch.nn.Module, patches, validate, **rest):
        calls.append((recipe, len(patches._cases)))
        return real(recipe, network, patches, validate, **rest)

    monkeypatch.setattr(module, "fit", fit)
    return calls


@pytest.mark.parametrize(("name", "expected"), [("airway", Mirroring()), ("left_kidney", None)])
def test_classes_with_a_side_are_not_mirrored(
    make_trainer: Callable[..., ArmTrainer], name: str, expected: Mirroring | None
) -> None:
    trainer = make_trainer()
    data = dataclasses.replace(trainer.plan.data, classes=(name,))
    trainer.plan = dataclasses.replace(trainer.plan, data=data)
    augmentation = trainer._patches(trainer._labelled(2), 1).augmentation
    assert augmentation is not None and augmentation.mirroring == expected


@pytest.mark.parametrize(
    ("arm", "recipes"),
    [
        ("scratch", [Finetune]),
        ("mae", [MAE, Finetune]),
        ("moco", [MoCo, Finetune]),
        ("agnostic", [Imitate, Finetune]),
        ("specific", [Distil, Finetune]),
    ],
)
def test_every_arm_runs_its_recipes_with_the_same_number_of_images(
    make_trainer: Callable[..., ArmTrainer], fits: list, arm: str, recipes: list[type]
) -> None:
    trainer = make_trainer()
    trainer.tuned_teacher(2)
    fits.clear()
    network = trainer.train_student(arm, 2)
    assert [type(recipe) for recipe, _ in fits] == recipes
    images = [recipe.patches_per_epoch for recipe, _ in fits]
    assert sum(images) == (4 + 2) * 4, "every arm sees the same number of images"
    assert fits[-1][1] == 2, "two labelled slices come from two patients"
    assert arm == "scratch" or fits[0][1] == (4 if arm != "specific" else 4 + 2), "pre-training uses all training cases"
    (first, second) = trainer.score(network)
    assert set(first["scores"]) == {"airway"} and first["case"] != second["case"]


def test_initial_weights_depend_on_the_seed_only(make_trainer: Callable[..., ArmTrainer]) -> None:
    one, same, other = (
        make_trainer().build_student(),
        make_trainer().build_student(),
        make_trainer(seed=1).build_student(),
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_shared_networks_are_trained_once(make_trainer: Callable[..., ArmTrainer], fits: list) -> None:
    trainer = make_trainer()
    for _ in range(2):
        trainer.train_student("mae", 2)
        trainer.tuned_teacher(2)
    names = [type(recipe).__name__ for recipe, _ in fits]
    assert names.count("MAE") == 1 and names.count("PromptFree") == 1 and names.count("Finetune") == 2


def test_the_synthetic_arm_distils_on_additional_synthetic_images(
    make_trainer: Callable[..., ArmTrainer], fits: list
) -> None:
    trainer = make_trainer()
    cases = trainer.synthetic_cases()
    assert cases and all(case.id.startswith("synthetic") for case in cases)
    assert (trainer.folder / "synthetic-0" / "synthetic.png").is_file()
    fits.clear()
    trainer.train_student("synthetic", 2)
    assert type(fits[0][0]) is Distil and fits[0][1] == 4 + len(cases) + 2


def test_the_encoder_weight_of_the_plan_reaches_the_recipe_and_the_student_has_no_projection(
    make_trainer: Callable[..., ArmTrainer], fits: list
) -> None:
    network = make_trainer(encoder_weight=0.5).train_student("specific", 2)
    assert fits[-2][0].encoder_weight == 0.5  # type: ignore[attr-defined]
    assert not any("projection" in name for name in network.state_dict())


def test_a_segmentation_network_can_be_the_teacher(make_trainer: Callable[..., ArmTrainer]) -> None:
    trainer = make_trainer(teacher="topowmamba_tiny", arms=tuple(arm for arm in ARMS if arm != "agnostic"))
    assert trainer.score(trainer.tuned_teacher(2), teacher=True)
    trainer.plan = dataclasses.replace(trainer.plan, encoder_weight=0.2)
    assert trainer.score(trainer.train_student("specific", 2))
