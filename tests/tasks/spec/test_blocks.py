"""Blocks of an app.toml: what restoring tasks declare, and what is refused."""

import pytest

from lib.data.files.tables import SpecError
from lib.jobs.gate import GateSpec
from lib.tasks.spec import read_app
from lib.tasks.spec.blocks import counts, gate

IMAGE = {"spacing_mm": [1, 1, 1], "window_hu": [0, 1], "roi": [8, 8]}
BONES = {
    "name": "bones",
    "kind": "restoration",
    "model": "nafnet_tiny",
    "counts": {"fraction": 0.25, "crop": 32},
    "train": {"recipe": "restore"},
}


def app(**changes: object) -> dict:
    task = {key: value for key, value in (BONES | changes).items() if value is not None}
    return {"app": {"name": "x"}, "task": [task]}


def test_a_task_that_restores() -> None:
    task = read_app(app()).tasks[0]
    assert task.counts is not None and task.counts.fraction == 0.25 and task.counts.guided
    assert task.labels == () and task.label_values == {} and task.gate == GateSpec(metric="psnr")
    declared = read_app(app(gate={"metric": "ssim", "floors": {"ssim": 0.8}})).tasks[0].gate
    assert declared.metric == "ssim" and declared.floors == {"ssim": 0.8}
    assert read_app(app(gate={"floors": {"psnr": 28}})).tasks[0].gate.floors == {"psnr": 28.0}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"counts": None}, "needs counts"),
        ({"labels": ["a"]}, "labels: a task of kind 'restoration' does not take"),
        (
            {"image": {"spacing_mm": [1, 1, 1], "window_hu": [0, 1], "roi": [8, 8]}},
            "image: a task of kind 'restoration'",
        ),
        ({"train": {"recipe": "finetune"}}, "takes the recipe 'restore' and no other"),
        ({"model": "student_conv"}, "model is 'student_conv'; there is nafnet_tiny"),
        ({"gate": {"metric": "dice"}}, "metric is 'dice'; there is psnr, ssim"),
        ({"gate": {"floors": {"ssim": 1}}}, "floors has no key ssim; the keys are psnr"),
        ({"scores": {}}, "scores: only a task of kind 'segmentation'"),
        ({"rank": 8}, "for tasks of kind 'click'"),
        ({"counts": {"fraction": 0}}, "fraction: above 0"),
        ({"counts": {"crop": 20}}, "crop is a multiple of 8"),
        ({"counts": {"crops": 20}}, "has no key crops"),
    ],
)
def test_what_it_cannot_be(changes: dict, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        read_app(app(**changes))


def test_other_tasks_have_no_counts_and_no_such_metric() -> None:
    seg = {
        "name": "seg",
        "kind": "segmentation",
        "model": "student_conv",
        "labels": ["a"],
        "image": IMAGE,
    }
    with pytest.raises(SpecError, match="counts: a task of kind 'segmentation'"):
        read_app({"app": {"name": "x"}, "task": [seg | {"counts": {}}]})
    with pytest.raises(SpecError, match="metric is 'psnr'; there is dice"):
        gate({"metric": "psnr"}, ("a",), "gate", metrics=("dice",))


def test_counts_by_themselves() -> None:
    assert counts({}, "counts").crop == 64
    with pytest.raises(SpecError, match="boxes 1 or more"):
        counts({"boxes": 0}, "counts")
