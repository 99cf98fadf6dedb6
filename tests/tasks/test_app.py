"""The MONAI Label app of an app.toml, and how MONAI Label finds it."""

from dataclasses import replace
from pathlib import Path

import pytest
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

from lib.tasks.app import TopoLabelApp, apply_conf
from lib.tasks.spec import AppSpec, TaskSpec

ROOT = Path(__file__).resolve().parents[2]


def test_info_has_the_form_that_viewers_need(app: TopoLabelApp) -> None:
    info = app.info()
    assert info["labels"] == ["tube", "cavity"], "OHIF fails on anything but a list here"
    assert info["models"]["tubes"]["labels"] == {"tube": 1, "cavity": 2}
    assert (list(info["models"]), list(info["trainers"])) == (["tubes"], ["tubes"])
    assert list(info["strategies"]) == ["random"] and list(info["scoring"]) == ["dice"]
    assert info["train_stats"] == {"tubes": {}}


def test_pictures_are_not_listed_as_studies(app: TopoLabelApp) -> None:
    assert app.datastore().list_images() == ["ct_0"]


def test_no_scoring_process_is_started_for_the_next_study(app: TopoLabelApp) -> None:
    app.async_scoring = lambda *_: pytest.fail("a scoring process was started for the next study")  # type: ignore[method-assign]
    assert app.next_sample({"strategy": "random"})["id"] == "ct_0"


@pytest.mark.parametrize("main", sorted((ROOT / "apps").glob("*/main.py")), ids=lambda path: path.parent.name)
def test_monailabel_finds_the_app(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_LABEL_RELOAD_APP_LIB", "false")
    found = get_class_of_subclass_from_file("main", str(main), "MONAILabelApp")
    assert found is not None and found.__name__ == "TopoLabelApp"
    assert len(main.read_text().splitlines()) < 12


@pytest.fixture
def click_task(task: TaskSpec) -> TaskSpec:
    image = replace(task.image, roi=(64, 64), slice_offsets=(0,))
    return replace(task, name="sam", kind="click", model="sam_tiny", object="airway", image=image, train=None)


def test_conf_sets_the_foundation_weights(click_task: TaskSpec, task: TaskSpec) -> None:
    spec = apply_conf(AppSpec("demo", (task, click_task)), {"sam_tiny": "/my.pth", "other": "x"})
    assert [entry.foundation for entry in spec.tasks] == ["", "/my.pth"]
    assert apply_conf(AppSpec("demo", (replace(click_task, foundation="/a"),)), {}).tasks[0].foundation == "/a"
