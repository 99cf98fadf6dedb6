"""The served weights: the champion, or else the starter, or else none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.models.weights import WeightsMismatch, save_weights
from lib.records.card import hash_labels
from lib.records.versions import set_champion, write_version
from lib.tasks.serving.weights import (
    NoWeights,
    SchemaMismatch,
    build_network,
    check_schema,
    served_weights,
    versions_dir,
)
from lib.tasks.spec import TaskSpec


def test_missing_weights_are_reported_with_the_next_step(app_dir: Path, task: TaskSpec) -> None:
    with pytest.raises(NoWeights, match=r"starter/topowmamba_tiny/weights\.safetensors"):
        served_weights(app_dir, task)


def test_the_starter_is_served_until_there_is_a_champion(app_dir: Path, task: TaskSpec, starter: Path) -> None:
    (starter.parent / "card.json").write_text(json.dumps({"seed": 7}))
    first = served_weights(app_dir, task)
    assert (first.name, first.path, first.card) == ("starter", starter, {"seed": 7})
    root = versions_dir(app_dir, task)
    path = write_version(root, build_network(task).state_dict(), {"seed": 8})
    assert served_weights(app_dir, task) == first, "a version that is not the champion is not served"
    set_champion(root, path.name)
    served = served_weights(app_dir, task)
    assert served.name == path.name and served.card["seed"] == 8 and served.path.is_file()


def test_a_network_has_the_channels_and_classes_of_its_task(task: TaskSpec) -> None:
    network = build_network(task)
    assert not network.training
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_building_a_network_does_not_change_the_random_state(task: TaskSpec) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build_network(task)
    assert torch.equal(torch.rand(3), expected)


def test_weights_of_another_network_are_refused(task: TaskSpec, tmp_path: Path) -> None:
    save_weights(torch.nn.Linear(2, 2), tmp_path / "weights.safetensors")
    with pytest.raises(WeightsMismatch):
        build_network(task, tmp_path / "weights.safetensors")


def test_the_same_seed_gives_the_same_initial_weights(task: TaskSpec) -> None:
    one, same, other = (build_network(task, seed=seed).state_dict() for seed in (3, 3, 4))
    name = next(name for name, value in one.items() if value.dim() > 1)
    assert torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name])


def test_a_version_serves_its_own_labels_after_others_were_added(app_dir: Path, task: TaskSpec) -> None:
    root = versions_dir(app_dir, task)
    card = {"labels": task.labels, "label_schema": hash_labels(task.labels)}
    set_champion(root, write_version(root, build_network(task).state_dict(), card).name)
    more = replace(task, labels=(*task.labels, "nodule", "cyst"))
    served = served_weights(app_dir, more)
    assert check_schema(more, served.name, served.card) == task.labels
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        own, grown = (build_network(more, served.path, grow=grow)(image) for grow in (False, True))
    assert own.shape[1] == 3 and grown.shape[1] == 5 and torch.allclose(own, grown[:, :3], atol=1e-5)
    assert (grown[:, 3:].amax(1) < grown[:, 0]).all(), "a new class is improbable at first"
    for labels in (("cavity", "tube"), ("tube",), ("tube", "nodule", "cavity")):
        with pytest.raises(SchemaMismatch, match=r"gives tube, cavity, and app\.toml declares"):
            served_weights(app_dir, replace(task, labels=labels))
