"""Training on labelled cases keeps the best weights, and the second recipe only if it is better."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.data.patches.sides import AugmentSpec
from lib.learning.loop import Result
from lib.tasks.segmentation import learn
from lib.tasks.segmentation.learn import SECOND, TrainingRun, learn_labels
from lib.tasks.serving.weights import build_network
from lib.tasks.spec import TaskSpec


@pytest.mark.parametrize(("second", "kept"), [(0.9, 0.9), (0.2, 0.5)])
def test_the_second_recipe_is_kept_only_if_it_is_better(
    task: TaskSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: float, kept: float
) -> None:
    task = replace(task, augment=AugmentSpec(mirror_pairs=(("tube", "cavity"),)))
    network, folders = build_network(task), []
    assert task.train is not None
    recipe = task.train.options

    def train(recipe: object, network: torch.nn.Module, *_: object, workdir: Path, **rest: object) -> Result:
        folders.append(workdir.name)
        assert rest["augment"] is task.augment, "both recipes mirror as the task declares"
        score = second if workdir.name == SECOND else 0.5
        state = {name: torch.full_like(value, score) for name, value in network.state_dict().items()}
        return Result(state, score, 1, [], [], 1, 0, 1.0, "finished")

    monkeypatch.setattr(learn, "train", train)
    monkeypatch.setattr(learn, "calibrate", lambda *_, **__: None)
    monkeypatch.setattr(type(recipe), "next_recipe", lambda self: recipe)
    run = TrainingRun(recipe, [], [], tmp_path / "run", tmp_path / "cache", torch.device("cpu"))
    result, level = learn_labels(task, network, run)
    assert folders == ["run", SECOND] and level is None and result.score == kept
    assert all((value == kept).all() for value in network.state_dict().values() if value.is_floating_point())
