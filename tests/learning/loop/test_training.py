"""Training on cases: from image files to weights and curves, and without training or validation cases."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.patches.augment import Augmentation
from lib.data.patches.sides import AugmentSpec
from lib.data.pipeline import ImageSpec
from lib.learning.loop import train, training
from lib.learning.recipes.click import Click
from lib.learning.recipes.distil import Distil
from lib.learning.recipes.recipe import Recipe
from lib.learning.recipes.synthesise import Synthesise
from lib.ops.mirror import Mirroring
from tests.learning.loop.squares import ignore_progress, quick_recipe

SPEC = ImageSpec(spacing_mm=(1.0, 1.0, 1.0), window=(-1000.0, 0.0), roi=(16, 16), slice_offsets=(-1, 0, 1))


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Write three labelled volumes with a tube of air."""
    written = []
    for index in range(3):
        hu, label = np.zeros((20, 18, 6), np.int16), np.zeros((20, 18, 6), np.uint8)
        label[6 + index : 12 + index, 5:12] = 1
        hu[label == 1] = -900
        paths = tmp_path / f"case{index}.nii.gz", tmp_path / f"label{index}.nii.gz"
        for path, array in zip(paths, (hu, label), strict=True):
            nib.save(nib.Nifti1Image(array, np.eye(4)), path)
        written.append(Case(id=f"case{index}", image=paths[0], label=paths[1], patient=f"p{index}"))
    return written


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))


def run(cases: list[Case], workdir: Path, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"spec": SPEC, "labels": ("airway",), "workdir": workdir, "progress": ignore_progress}
    recipe = changes.pop("recipe", quick_recipe(max_epochs=6, skeleton_weight=0.1))
    return train(recipe, network(), cases[:2], cases[2:], **(arguments | changes))


def test_training_on_files_gives_weights_scores_and_curves(cases: list[Case], tmp_path: Path) -> None:
    result = run(cases, tmp_path / "run", cache=tmp_path / "cache")
    assert result.score > 0.8 and [case["case"] for case in result.metrics] == ["case2"]
    assert json.dumps(result.metrics) and "skeleton_recall" in result.history[0]
    assert {"checkpoint.pt", "best.pt", "mlflow.db", "tensorboard"} <= {p.name for p in (tmp_path / "run").iterdir()}
    network().load_state_dict(result.state_dict)


@pytest.mark.parametrize(
    ("names", "augment", "expected"),
    [
        (("tube", "cavity"), {}, Mirroring()),
        (("tube", "cavity"), {"augment": AugmentSpec(mirror=False)}, None),
        (("left_tube", "cavity"), {}, None),
        (("tube_l", "tube_r"), {"augment": AugmentSpec(mirror_pairs=(("tube_l", "tube_r"),))}, Mirroring(((1, 2),))),
    ],
)
@pytest.mark.parametrize("recipe", [quick_recipe(), Click(), Distil(), Synthesise()])
def test_patches_are_mirrored_as_declared_whatever_the_recipe(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...], augment: dict, expected: Mirroring | None, recipe: Recipe,
) -> None:  # fmt: skip
    seen: list[Augmentation] = []

    def stop(*_: Any, augment: Augmentation, **__: Any) -> None:
        seen.append(augment)
        raise InterruptedError

    monkeypatch.setattr(training, "PatchDataset", stop)
    with pytest.raises(InterruptedError):
        run(cases, tmp_path / "run", recipe=recipe, labels=names, **augment)
    assert seen[0].mirroring == expected and seen[0].flip_prob == 0.5


def test_training_without_a_labelled_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no labelled case to train on"):
        run([], tmp_path)


def test_training_without_validation_cases_has_no_score(cases: list[Case], tmp_path: Path) -> None:
    result = run(cases[:2], tmp_path / "run", recipe=quick_recipe(max_epochs=1), track=False)
    assert result.metrics == [] and np.isnan(result.score) and result.steps == 4
