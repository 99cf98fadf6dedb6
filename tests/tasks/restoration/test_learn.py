"""Training on pairs of scans: the cascade is trained; f_IR1 is stored, judged and served."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.cases import find_cases
from lib.data.scintigraphy.pairs import read_pair
from lib.data.scintigraphy.skeleton import write_pairs
from lib.learning.recipes.restore import Restore
from lib.learning.scan_validation import pair_of
from lib.models.restoration.semantics import SamSemantics
from lib.records.ledger import Ledger
from lib.records.versions import find_version
from lib.tasks.restoration.learn import build_training_cascade, learn_to_restore, pair_examples
from lib.tasks.restoration.restorer import Restorer
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import TaskSpec
from lib.tasks.training.retrain import retrain


def recipe_of(task: TaskSpec) -> Restore:
    assert task.train is not None and isinstance(task.train.options, Restore)
    return task.train.options


@pytest.mark.parametrize(
    ("counts", "options", "second", "masks"),
    [
        ({}, {}, True, True),
        ({"guided": False}, {"consistency_weight": 0.0}, True, False),
        ({"guided": False}, {}, True, True),
        ({"guided": False}, {"consistency_weight": 0.0, "distillation_weight": 0.0}, False, False),
    ],
)
def test_the_cascade_has_the_parts_that_task_and_recipe_use(
    bones: TaskSpec, counts: dict, options: dict, second: bool, masks: bool
) -> None:
    assert bones.counts is not None
    task = dataclasses.replace(bones, counts=dataclasses.replace(bones.counts, **counts))
    network = build_network(task, seed=5)
    cascade = build_training_cascade(task, dataclasses.replace(recipe_of(bones), **options), network)
    assert (cascade.second is not None) == second and isinstance(cascade.semantics, SamSemantics) == masks
    assert cascade.guided == (counts == {})
    assert all(torch.equal(a, b) for a, b in zip(cascade.first.parameters(), network.parameters(), strict=True))


def test_a_training_example_is_the_sum_of_both_scans(pairs: Path) -> None:
    cases = find_cases(pairs)[:3]
    examples, fractions = pair_examples(cases)
    assert fractions == pytest.approx([0.5, 0.25, 0.1], rel=0.05)
    assert [example.scans for example in examples] == [1 + fraction for fraction in fractions]
    for example, case in zip(examples, cases, strict=True):
        rapid, standard, _ = read_pair(pair_of(case))
        assert np.array_equal(example.counts, rapid.counts + standard.counts)


def test_only_the_weights_of_the_first_stage_are_returned(bones: TaskSpec, pairs: Path, tmp_path: Path) -> None:
    network, cases = build_network(bones), find_cases(pairs)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    result = learn_to_restore(bones, recipe_of(bones), network, cases[:4], cases[4:], tmp_path / "run")
    assert result.state_dict.keys() == before.keys() and result.skipped == 0
    assert any(not torch.equal(value, before[name]) for name, value in result.state_dict.items())
    assert all(torch.equal(value, result.state_dict[name]) for name, value in network.state_dict().items())
    assert {row["case"] for row in result.metrics} == {"skeleton_0004", "skeleton_0005"}
    assert {"first", "second", "distillation", "consistency"} <= result.history[0].keys()


def test_a_retrained_version_goes_through_the_gate_and_serves(
    scans_app: Path, bones: TaskSpec, scans_starter: Path, tmp_path: Path
) -> None:
    declared, pairs = scans_app / "app.toml", tmp_path / "nine pairs"
    # The training is too short to be better: the tolerance lets the version pass.
    text = declared.read_text().replace("held_out_patients = 2", "held_out_patients = 3")
    declared.write_text(text.replace("tolerance = 0.5", "tolerance = 5"))
    pairs.mkdir()
    write_pairs(pairs, count=9, seed=1, pixel_mm=12.0)
    outcome = retrain(scans_app, "bones", pairs, device="cpu")
    assert outcome.verdict == "publish" and outcome.held_out_cases == 3 and outcome.parent == "starter", outcome.reason
    assert "PSNR" in outcome.reason and 0 < outcome.score < 99
    card = find_version(open_task_versions(scans_app, bones).root, outcome.version).card
    assert [set(row) for row in card["metrics"]] == [{"case", "psnr"}] * 3 and card["labels"] == []
    assert card["notes"]["counts"]["crop"] == 16 and card["recipe"]["name"] == "restore"
    restored = Restorer.from_task(scans_app, "bones").restore(pairs / "skeleton_0000.nii.gz")
    assert restored.version == outcome.version
    decision = Ledger.of(scans_app).rows("decision")[-1].body
    assert "PSNR" in json.dumps(decision)


def test_scans_that_are_not_a_pair_are_rejected(bones: TaskSpec, pairs: Path, tmp_path: Path) -> None:
    case = find_cases(pairs)[0]
    swapped = dataclasses.replace(case, image=case.label, label=case.image)
    with pytest.raises(ValueError, match="PAIR_COUNTS"):
        learn_to_restore(bones, recipe_of(bones), build_network(bones), [swapped], [], tmp_path / "run")
