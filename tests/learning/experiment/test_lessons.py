"""Every arm: what it begins with, what it hears, and that its answers can be judged."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.learning.experiment import lessons as module
from lib.learning.experiment.lessons import Lessons
from lib.learning.experiment.plan import ARMS, Plan
from lib.learning.experiment.pool import load_pool
from lib.learning.recipes.distil import Distil
from lib.learning.recipes.finetune import Finetune
from lib.learning.recipes.imitate import Imitate
from lib.learning.recipes.mae import MAE
from lib.learning.recipes.moco import MoCo
from lib.learning.recipes.recipe import Recipe


@pytest.fixture
def make(make_plan: Callable[..., Plan], tmp_path: Path) -> Callable[..., Lessons]:
    def build(seed: int = 0, **changes: object) -> Lessons:
        plan = make_plan(**changes)
        (tmp_path / "shared").mkdir(exist_ok=True)
        return Lessons(plan, load_pool(plan, tmp_path), seed, tmp_path / "shared")

    return build


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, int]]:
    """Every recipe that ran, and with how many labelled patches' worth of cases."""
    seen: list[tuple[Recipe, int]] = []
    real = module.fit

    def fit(recipe: Recipe, network: torch.nn.Module, patches, judge, **rest):
        seen.append((recipe, len(patches._cases)))
        return real(recipe, network, patches, judge, **rest)

    monkeypatch.setattr(module, "fit", fit)
    return seen


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
def test_an_arm_takes_its_lessons_with_the_budget_of_all(
    make: Callable[..., Lessons], taught: list, arm: str, recipes: list[type]
) -> None:
    lessons = make()
    lessons.teacher(2)
    taught.clear()
    network = lessons.teach(arm, 2)
    assert [type(recipe) for recipe, _ in taught] == recipes
    images = [recipe.patches_per_epoch for recipe, _ in taught]
    assert sum(images) == (4 + 2) * 4, "as many images for every arm"
    assert taught[-1][1] == 2, "two labels are two patients"
    assert arm == "scratch" or taught[0][1] == (4 if arm != "specific" else 4 + 2), "a lesson sees the whole pool"
    (first, second) = lessons.judge(network)
    assert set(first["scores"]) == {"airway"} and first["case"] != second["case"]


def test_all_arms_begin_alike_and_seeds_do_not(make: Callable[..., Lessons]) -> None:
    one, same, other = make().student(), make().student(), make(seed=1).student()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_what_is_shared_is_learned_once(make: Callable[..., Lessons], taught: list) -> None:
    lessons = make()
    for _ in range(2):
        lessons.teach("mae", 2)
        lessons.teacher(2)
    names = [type(recipe).__name__ for recipe, _ in taught]
    assert names.count("MAE") == 1 and names.count("PromptFree") == 1 and names.count("Finetune") == 2


def test_made_images_are_shown_and_no_label_of_theirs_is_heard(make: Callable[..., Lessons], taught: list) -> None:
    lessons = make()
    made = lessons.made()
    assert made and all(case.id.startswith("synthetic") for case in made)
    assert (lessons.folder / "synthetic-0" / "synthetic.png").is_file()
    taught.clear()
    lessons.teach("synthetic", 2)
    assert type(taught[0][0]) is Distil and taught[0][1] == 4 + len(made) + 2


def test_features_of_the_tuned_teacher_may_be_weighed(make: Callable[..., Lessons], taught: list) -> None:
    network = make(encoder_weight=0.5).teach("specific", 2)
    assert taught[-2][0].encoder_weight == 0.5  # type: ignore[attr-defined]
    assert not any("projection" in name for name in network.state_dict())


def test_a_teacher_that_segments_by_itself(make: Callable[..., Lessons]) -> None:
    lessons = make(teacher="topowmamba_tiny", arms=tuple(arm for arm in ARMS if arm != "agnostic"))
    assert lessons.judge(lessons.teacher(2), teacher=True)
    lessons.plan = dataclasses.replace(lessons.plan, encoder_weight=0.2)
    assert lessons.judge(lessons.teach("specific", 2))
