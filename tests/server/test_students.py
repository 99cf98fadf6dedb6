"""A teacher is published over HTTP: its student is trained, judged and served; an older student is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from safetensors.torch import load_file
from scipy import ndimage

from lib.records.ledger import Ledger
from lib.records.versions import write_version
from lib.tasks.serving.teacher import TEACHER, describe_teacher
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import load_app

pytestmark = pytest.mark.server
STUDENT = """
[[task]]
name = "quick"
kind = "segmentation"
model = "student_conv"
labels = ["tube", "cavity"]
teacher = "tubes"
image = { spacing_mm = [2, 2, 2], window = [-1000, 400], roi = [32, 32], slice_offsets = [-1, 0, 1] }
gate = { teacher_share = 0.5 }

[task.train]
recipe = "distil"
max_epochs = 8
val_interval = 8
patches_per_epoch = 512
batch_size = 8
learning_rate = 3e-3
ema_decay = 0.0
warmup_steps = 0
soft_weight = 0.1
finetune_epochs = 1
"""
SHAPE = (32, 32, 20)
"""Slices as large as the student's roi, which is one stride of it: padded to two, it sees what it never learned."""


def scan(make_ct: Callable, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return HU and labels; the cavity is wider than the tube, so that a single slice shows which one it is."""
    hu, label = make_ct(seed, SHAPE)
    cavity = ndimage.binary_dilation(label == 2, np.ones((3, 3, 1)), iterations=2)
    return np.where(cavity, -1000, hu).astype(np.int16), np.where(cavity, 2, label).astype(np.uint8)


def decide(server: Any, task: str, name: str) -> requests.Response:
    """Promote a version as the admin page does, with the token of its form."""
    browser, address = requests.Session(), f"{server.url}/admin/promote/{task}/{name}"
    page = browser.get(address, timeout=60).text
    form = {field: re.search(f'name="{field}" value="([^"]*)"', page)[1] for field in ("csrf_token", "served")}
    return browser.post(address, data=form, timeout=60, allow_redirects=False)


def infer(server: Any) -> requests.Response:
    return requests.post(f"{server.url}/infer/quick?image=ct_20&output=json", data={"params": "{}"}, timeout=120)


def test_a_published_teacher_gets_its_student(
    launch: Callable,
    command: Callable,
    new_app: Callable,
    make_ct: Callable,
    write_nifti: Callable,
    wait: Callable,
    tmp_path: Path,
) -> None:
    app_dir, studies = new_app(tmp_path / "app"), tmp_path / "studies"
    text = (app_dir / "app.toml").read_text().replace('name = "tiny"', 'name = "tiny"\nheld_out_patients = 3')
    (app_dir / "app.toml").write_text(text + STUDENT)
    for seed in range(9):
        hu, label = scan(make_ct, seed)
        write_nifti(hu, studies / f"ct_{seed}.nii.gz")
        write_nifti(label, studies / "labels" / "final" / f"ct_{seed}.nii.gz")
    write_nifti(scan(make_ct, 20)[0], studies / "ct_20.nii.gz")
    app = load_app(app_dir)
    teacher, student = app.task("tubes"), app.task("quick")
    starter = load_file(app_dir / "starter" / teacher.model / "weights.safetensors")
    write_version(open_task_versions(app_dir, teacher).root, starter, {"parent": "starter"}, name="v1")
    place = open_task_versions(app_dir, student)
    notes = {TEACHER: describe_teacher(app_dir, teacher, "starter")}
    write_version(place.root, build_network(student).state_dict(), {"notes": notes}, name="of-starter")

    server = launch(command, app_dir, studies, tmp_path)
    before = infer(server)
    assert before.status_code == 503 and "no weights" in before.json()["reason"]
    assert decide(server, "tubes", "v1").status_code == 303
    wait(lambda: bool(place.served), 300, "the student was distilled and published")
    answer = infer(server)
    assert answer.status_code == 200 and answer.json()["notes"] == []

    def jobs() -> list[tuple[str, str]]:
        tasks = requests.get(f"{server.url}/train/?all=true", timeout=60).json()
        return [(task["request"]["model"], task["status"]) for task in tasks]

    wait(lambda: jobs() == [("quick", "DONE")], 60, "the only job has ended")
    (decision,) = Ledger.of(app_dir).rows("decision", "quick")
    assert decision.body["verdict"] == "publish" and decision.body["by"] == "gate"
    assert decision.body["figures"]["teacher_share"] > 0.5
    assert decision.body["figures"]["mean_score"]["challenger"] > 0.8, "the student has learned"
    refused = decide(server, "quick", "of-starter")
    assert refused.status_code == 409
    assert "trained from version starter of &#39;tubes&#39;, but v1 is served now" in refused.text
