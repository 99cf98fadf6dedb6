"""Blocks of an app.toml: values of restoration tasks, and invalid values that are refused."""

import pytest

from lib.data.files.tables import SpecError
from lib.jobs.gate import GateSpec
from lib.tasks.spec import read_app
from lib.tasks.spec.blocks import counts, gate

IMAGE = {"spacing_mm": [1, 1, 1], "window": [0, 1], "roi": [8, 8]}
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


def test_a_restoration_task_is_read() -> None:
    task = read_app(app()).tasks[0]
    assert task.counts is not None and task.counts.fraction == 0.25 and task.counts.guided
    assert task.labels == () and task.label_values == {} and task.gate == GateSpec(metric="psnr")
    declared = read_app(app(gate={"metric": "ssim", "floors": {"ssim": 0.8}})).tasks[0].gate
    assert declared.metric == "ssim" and declared.floors == {"ssim": 0.8}
    assert read_app(app(gate={"floors": {"psnr": 28}})).tasks[0].gate.floors == {"psnr": 28.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": None}, "needs counts"),
        ({"labels": ["a"]}, "labels: a task of kind 'restoration' does not take"),
        (
            {"image": {"spacing_mm": [1, 1, 1], "window": [0, 1], "roi": [8, 8]}},
            "image: a task of kind 'restoration'",
        ),
        ({"train": {"recipe": "finetune"}}, "takes the recipe 'restore' and no other"),
        ({"model": "student_conv"}, "model is 'student_conv'; the choices are nafnet_tiny"),
        ({"gate": {"metric": "dice"}}, "metric is 'dice'; the choices are psnr, ssim"),
        ({"gate": {"floors": {"ssim": 1}}}, "floors has no key ssim; the keys are psnr"),
        ({"tubular": ["a"]}, "tubular: a task of kind 'restoration' does not take"),
        ({"scores": {}}, "scores: only a task of kind 'segmentation'"),
        ({"rank": 8}, "only tasks of kind 'click' take"),
        ({"counts": {"fraction": 0}}, "fraction: 0.0 must be above 0"),
        ({"counts": {"crop": 20}}, "crop must be a multiple of 8"),
        ({"counts": {"crops": 20}}, "has no key crops"),
    ],
)
def test_invalid_values_of_a_restoration_task_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_app(app(**changes))


def test_a_segmentation_task_has_no_counts_and_no_psnr() -> None:
    seg = {
        "name": "seg",
        "kind": "segmentation",
        "model": "student_conv",
        "labels": ["a"],
        "image": IMAGE,
    }
    with pytest.raises(SpecError, match="counts: a task of kind 'segmentation'"):
        read_app({"app": {"name": "x"}, "task": [seg | {"counts": {}}]})
    with pytest.raises(SpecError, match="metric is 'psnr'; the choices are dice"):
        gate({"metric": "psnr"}, ("a",), "gate", metrics=("dice",))


def test_counts_have_default_values_and_are_checked() -> None:
    assert counts({}, "counts").crop == 64
    with pytest.raises(SpecError, match="boxes at least 1"):
        counts({"boxes": 0}, "counts")
