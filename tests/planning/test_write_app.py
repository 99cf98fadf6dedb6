"""The written app is accepted, runs, and says the reason of each choice."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lib.planning.fingerprint import Fingerprint
from lib.planning.write_app import RETRAIN_AFTER, write_app
from lib.tasks.spec import load_app
from tests.planning.test_choices import CT, MR, PHOTO, plan


@pytest.mark.parametrize("found", [MR, CT, PHOTO, replace(MR, spacing_mm=(0.7, 0.7, 5.0))])
def test_the_app_is_accepted_with_the_planned_values(tmp_path: Path, found: Fingerprint) -> None:
    chosen = plan(found)
    write_app(tmp_path / "my organ", chosen, found, "images")
    app = load_app(tmp_path / "my organ")
    task = app.task("segment")
    assert app.name == "my_organ" and app.policy.retrain_after == RETRAIN_AFTER and task.labels == ("ball", "tube")
    assert task.image.roi == tuple(chosen["roi"]) and task.image.modality == chosen["modality"]
    assert task.tubular == ("tube",) and task.train is not None and task.train.options.max_minutes == 30
    assert [task.name for task in app.tasks] == ["segment", "click"]
    clicks = app.task("click").image
    assert (clicks.modality, clicks.intensity, clicks.window) == (
        task.image.modality,
        task.image.intensity,
        task.image.window,
    )
    assert clicks.patch_side_mm == pytest.approx(task.image.patch_side_mm, rel=0.01)
    text = (tmp_path / "my organ" / "app.toml").read_text()
    for key in ("model", "spacing_mm", "roi", "intensity", "dimensions", "tubular", "one_piece"):
        assert chosen.choices[key].reason in text, key


@pytest.mark.parametrize(
    "labels", [("kidney_left", "kidney_right"), ("kidney_left", "liver"), ('the "left" one', "Leber\\links, ä")]
)
def test_names_of_labels_are_kept_whatever_they_hold(tmp_path: Path, labels: tuple[str, ...]) -> None:
    found = replace(MR, labels=())
    write_app(tmp_path, plan(found, labels=labels), found, "images")
    task = load_app(tmp_path).task("segment")
    assert task.labels == labels
    mirrored = task.augment.mirroring(labels)
    assert (mirrored is None) == (labels[1] != "kidney_right"), "a left is never shown as a right"


@pytest.mark.parametrize(("found", "strategy"), [(MR, "random"), (replace(MR, labelled=0, labels=()), "cold_start")])
def test_an_app_without_labels_starts_with_typical_studies(tmp_path: Path, found: Fingerprint, strategy: str) -> None:
    write_app(tmp_path, plan(found), found, "images")
    assert load_app(tmp_path).strategy == strategy


def test_main_is_imported_from_any_folder(tmp_path: Path) -> None:
    write_app(tmp_path / "app", plan(MR), MR, "images")
    code = "import main; print(main.TopoLabelApp.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "app", capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip().endswith("TopoLabelApp")


def test_the_readme_names_labels_commands_and_faults(tmp_path: Path) -> None:
    found = replace(MR, refused={"p3": "TRUNCATED: cut off"})
    write_app(tmp_path, plan(found), found, "images")
    text = (tmp_path / "README.md").read_text()
    assert "| 1 | ball |" in text and "python -m lib serve" in text and "`p3`: TRUNCATED" in text
