"""Reading app.toml: values, types, and error messages that list the allowed names."""

import copy
from pathlib import Path
from typing import Any

import pytest

from lib.data.pipeline import ImageSpec
from lib.evaluation.faults.expected import Expected
from lib.jobs.gate import GateSpec
from lib.learning.recipes.click import Click
from lib.models.sam.build import RANK
from lib.ops.mirror import Mirroring
from lib.tasks.spec import SCORED, SpecError, load_app, read_app, scored_strategies
from lib.tasks.spec.blocks import ScoreSpec

ROOT = Path(__file__).resolve().parents[3]
GOOD: dict[str, Any] = {
    "app": {"name": "demo"},
    "task": [
        {
            "name": "seg",
            "kind": "segmentation",
            "model": "topowmamba_tiny",
            "labels": ["a", "b"],
            "image": {"spacing_mm": [1, 1, 2], "window": [-1000, 400], "roi": [32, 32], "slice_offsets": [-1, 0, 1]},
            "train": {"recipe": "finetune", "max_epochs": 3},
        }
    ],
}


def changed(where: str, value: Any, good: dict[str, Any] = GOOD) -> dict[str, Any]:
    """Return the good table with one key set; ``task.image.roi`` names a key of the first task's image."""
    table = copy.deepcopy(good)
    block: Any = table
    *path, last = where.split(".")
    for key in path:
        block = block[key][0] if key == "task" else block[key]
    block[last] = value
    return table


def test_keys_are_converted_to_their_types() -> None:
    task = read_app(GOOD).task("seg")
    assert task.image == ImageSpec((1.0, 1.0, 2.0), (-1000.0, 400.0), (32, 32), (-1, 0, 1))
    assert isinstance(task.image.spacing_mm[0], float)
    assert task.label_values == {"a": 1, "b": 2} and task.dimension == 2
    assert task.train is not None and task.train.options.max_epochs == 3


def test_the_gate_has_default_values_and_floors_per_class() -> None:
    assert read_app(GOOD).task("seg").gate == GateSpec() and read_app(GOOD).held_out_patients == 5
    gate = read_app(changed("task.gate", {"tolerance": 0.02, "floors": {"a": 0.5, "b": 1}})).task("seg").gate
    assert gate == GateSpec(tolerance=0.02, floors={"a": 0.5, "b": 1.0})


def test_train_is_optional() -> None:
    table = copy.deepcopy(GOOD)
    del table["task"][0]["train"]
    assert read_app(table).task("seg").train is None


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("colour", 1, "the keys are app, policy, task"),
        (
            "app.colour",
            1,
            "the keys are control_share, description, held_out_patients, lease_minutes, name, patient_pattern",
        ),
        ("app.tasks", [], "has no key tasks"),
        ("app.strategy", "best", "the choices are random"),
        ("app.name", 3, "takes str, got 3"),
        ("task.colour", 1, "kind, labels, model, name, object, rank, scores, student, teacher, topology, train"),
        ("task.kind", "classify", "the choices are segmentation, click"),
        ("task.model", "unet9000", "topowmamba_small"),
        ("task.labels", "a", "takes a list"),
        ("task.labels", ["a", 1], "takes str, got 1"),
        ("task.labels", ["a", "a"], "different names"),
        ("task.labels", [], "different names"),
        ("task.name", "a/b", "part of a URL"),
        ("task.name", True, "takes str"),
        ("task.image", [1], "takes a table"),
        ("task.image.zoom", 2, "roi, slice_offsets, spacing_mm, window"),
        ("task.image.spacing_mm", [1, 1], "a list of 3"),
        ("task.image.spacing_mm", [1, 1, 0], "must be positive"),
        ("task.image.spacing_mm", [1, 1, True], "takes float, got True"),
        ("task.image.window", [400, 400], "ends of window must differ"),
        ("task.image.roi", [1.5, 2], "takes int, got 1.5"),
        ("task.image.roi", [8], "two or three"),
        ("task.image.roi", [8, 8, 8], "a 3-D roi has one"),
        ("task.image.slice_offsets", [], "at least one"),
        ("task.train.recipe", "dream", "the choices are finetune, click, distil"),
        ("task.model", "sam_tiny", "the choices are topowmamba_tiny"),
        ("task.object", "airway", "only tasks of kind 'click' take"),
        ("task.foundation", "sam.pth", "only tasks of kind 'click' take"),
        ("task.rank", 8, "only tasks of kind 'click' take"),
        ("task.train.recipe", "click", "is for tasks of kind 'click'"),
        ("task.train.epochs", 3, "max_epochs"),
        ("task.train.max_epochs", 0, "must be positive"),
        ("task.train.max_epochs", "many", "takes int"),
        ("app.patient_pattern", "(", "not a regular expression"),
        ("app.held_out_patients", 1, "at least 2 are needed"),
        ("app.lease_minutes", 0, "not a finite number above 0"),
        ("app.control_share", 0.6, "not between 0 and 0.5"),
        ("task.gate", {"tolerances": 0.1}, "the keys are floors, latency_factor, metric, teacher_share, tolerance"),
        ("task.gate", {"tolerance": -0.1}, "tolerance must be at least 0"),
        ("task.gate", {"floors": {"c": 0.5}}, "floors has no key c; the keys are a, b"),
        ("task.gate", {"floors": {"a": 80}}, "within"),
        ("task.gate", {"floors": {"a": "high"}}, "takes float"),
        ("task.scores", {"by": "luck"}, "scores by is 'luck'; the choices are tta, dropout, ensemble"),
        ("task.scores", {"over": "all"}, "the choices are top, roi"),
        ("task.scores", {"samples": 1}, "samples must be at least 2"),
        ("task.scores", {"top_ml": 0}, "top_ml above 0"),
        ("task.scores", {"pools": 3}, "by, margin_mm, over, pool, samples, top_ml"),
        ("app.strategy", "entropy", "the choices are random"),
        ("task.gate", {"teacher_share": 1.1}, "within"),
        ("task.train.recipe", "distil", "the recipe 'distil' needs a teacher"),
        ("task.teacher", "seg", "no other recipe takes one"),
        ("task.tubular", ["a", "c"], "tubular is 'c'; the choices are a, b"),
        ("task.tubular", "a", "takes a list"),
        ("task.topology", {"c": {"components": 1}}, "topology has no key c; the keys are a, b"),
        ("task.topology", {"a + c": {"components": 1}}, "topology has no key c; the keys are a, b"),
        ("task.topology", {"a": {"holes": 1}}, "has no key holes; the keys are cavities, components, loops"),
        ("task.topology", {"a": {"loops": 0.5}}, "takes int, got 0.5"),
        ("task.topology", {"a": {"loops": -1}}, "must be at least 0"),
        ("task.topology", {"a": 1}, "takes a table"),
        ("task", [], "at least one task"),
        ("task.augment", {"flip": True}, r"\(seg\) augment has no key flip; the keys are mirror, mirror_pairs"),
        ("task.augment", {"mirror": "yes"}, "augment mirror takes bool, got 'yes'"),
        ("task.augment", {"mirror_pairs": [["a", "b", "b"]]}, "takes a list of 2"),
        ("task.augment", {"mirror_pairs": [["a", "c"]]}, "mirror_pairs has no label c; the labels are a, b"),
        ("task.augment", {"mirror_pairs": [["a", "b"], ["b", "a"]]}, "mirror_pairs has a, b more than once"),
    ],
)
def test_invalid_values_are_refused(where: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_app(changed(where, value))


def test_labels_with_a_side_are_mirrored_only_as_pairs() -> None:
    sided = changed("task.labels", ["lung_left", "lung_right"])
    assert read_app(GOOD).task("seg").mirroring == Mirroring()
    assert read_app(sided).task("seg").mirroring is None
    paired = changed("task.augment", {"mirror_pairs": [["lung_left", "lung_right"]]}, sided)
    assert read_app(paired).task("seg").mirroring == Mirroring(((1, 2),))
    with pytest.raises(SpecError, match=r"augment: the names lung_left, lung_right have a side.*mirror = false"):
        read_app(changed("task.augment", {"mirror": True}, sided))
    assert read_app(changed("task.augment", {"mirror": False}, sided)).task("seg").mirroring is None


CLICKS: dict[str, Any] = {
    "app": {"name": "demo"},
    "task": [
        {
            "name": "clicks",
            "kind": "click",
            "model": "sam_tiny",
            "object": "airway",
            "labels": ["a", "b"],
            "image": {"spacing_mm": [1, 1, 2], "window": [200, -1000], "roi": [128, 128]},
            "train": {"recipe": "click", "rounds": 2},
            "foundation": "weights.pth",
            "rank": 8,
        }
    ],
}


def test_a_click_task_is_read() -> None:
    task = read_app(CLICKS).task("clicks")
    assert (task.kind, task.model, task.object, task.foundation, task.rank) == (
        "click", "sam_tiny", "airway", "weights.pth", 8,
    )  # fmt: skip
    assert task.image.window == (200.0, -1000.0) and task.train is not None
    assert isinstance(task.train.options, Click) and task.train.options.rounds == 2


@pytest.mark.parametrize("named", ["sam.pth", "/data/sam.pth"])
def test_a_foundation_path_is_relative_to_the_app_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    text = (ROOT / "apps" / "airway" / "app.toml").read_text()
    with_foundation = text.replace('object = "airway"', f'object = "airway"\nfoundation = "{named}"')
    (tmp_path / "app.toml").write_text(with_foundation)
    monkeypatch.chdir(tmp_path.parent)
    assert load_app(tmp_path.name).task("sam_lora").foundation == str(tmp_path / named)
    assert load_app(ROOT / "apps" / "airway").task("sam_lora").foundation == ""


def test_a_click_task_needs_no_foundation_rank_or_recipe() -> None:
    table = copy.deepcopy(CLICKS)
    for key in ("foundation", "rank", "train"):
        del table["task"][0][key]
    task = read_app(table).task("clicks")
    assert (task.foundation, task.rank, task.train) == ("", RANK, None)
    assert read_app(changed("task.rank", 0, CLICKS)).task("clicks").rank == 0


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("task.model", "topowmamba_tiny", "the choices are sam_tiny, sam_vit_b"),
        ("task.object", "", "needs object"),
        ("task.object", 3, "takes str"),
        ("task.image.roi", [128, 96], "roi must be a square"),
        ("task.image.roi", [64, 64, 64], "roi must be a square"),
        ("task.image.slice_offsets", [-1, 0, 1], "clicks segment one slice"),
        ("task.image.slice_offsets", [3], "clicks segment one slice"),
        ("task.image.window", [200, 200], "ends of window must differ"),
        ("task.rank", -1, "rank: -1 is below 0"),
        ("task.rank", 1.5, "takes int"),
        ("task.foundation", 1, "takes str"),
        ("task.train", {"recipe": "finetune"}, "takes the recipe 'click' and no other"),
        ("task.train.rounds", 0, "must be positive"),
        ("task.scores", {}, "can score cases"),
    ],
)
def test_invalid_values_of_a_click_task_are_refused(where: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_app(changed(where, value, CLICKS))


def test_a_window_may_be_descending() -> None:
    task = read_app(changed("task.image.window", [400, -1000])).task("seg")
    assert task.image.window == (400, -1000)


@pytest.mark.parametrize("key", ["name", "kind", "model", "labels", "image"])
def test_a_missing_key_is_named(key: str) -> None:
    table = copy.deepcopy(GOOD)
    del table["task"][0][key]
    with pytest.raises(SpecError, match=f"needs {key}"):
        read_app(table)


def test_two_tasks_with_the_same_name_are_refused() -> None:
    with pytest.raises(SpecError, match="the same name"):
        read_app(GOOD | {"task": GOOD["task"] * 2})


def test_an_unknown_task_is_refused_with_the_existing_names() -> None:
    with pytest.raises(SpecError, match="its tasks are: seg"):
        read_app(GOOD).task("other")


@pytest.mark.parametrize(
    ("text", "message"), [(None, "has no app.toml"), ("[app", "not TOML"), ("x = 1", "app.toml: the file")]
)
def test_an_error_in_the_file_names_the_file(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "app.toml").write_text(text)
    with pytest.raises(SpecError, match=message):
        load_app(tmp_path)


def test_all_apps_of_the_repository_can_be_read() -> None:
    apps = sorted((ROOT / "apps").glob("*/app.toml"))
    assert apps
    for path in apps:
        assert load_app(path.parent).name == path.parent.name


def test_the_airway_app_has_the_designed_labels_and_grid() -> None:
    task = load_app(ROOT / "apps" / "airway").task("topowmamba")
    assert task.labels == ("nasal_cavity", "sinuses", "pharynx", "larynx", "trachea")
    assert task.image == ImageSpec((0.9, 0.9, 1.5), (-1000.0, 400.0), (224, 224), (-6, -3, -1, 0, 1, 3, 6))


TEACHER_AND_STUDENTS = """
[app]
name = "two"
[[task]]
name = "large"
kind = "segmentation"
model = "topowmamba_small"
labels = ["tube"]
student = "other"
image = { spacing_mm = [1, 1, 1], window = [-1000, 400], roi = [64, 64] }
[[task]]
name = "quick"
kind = "segmentation"
model = "student_conv"
labels = ["tube"]
teacher = "large"
train = { recipe = "distil" }
image = { spacing_mm = [1, 1, 1], window = [-1000, 400], roi = [64, 64] }
[[task]]
name = "other"
kind = "segmentation"
model = "topowmamba_tiny"
labels = ["tube"]
image = { spacing_mm = [1, 1, 1], window = [-1000, 400], roi = [64, 64] }
"""


def test_the_student_of_the_airway_app_reads_images_as_its_teacher_does() -> None:
    app = load_app(ROOT / "apps" / "airway")
    student, teacher = app.task("student"), app.task("topowmamba")
    assert student.teacher == "topowmamba" and student.image == teacher.image and student.labels == teacher.labels
    assert ("topowmamba", "student") in app.teacher_student_pairs


def test_teacher_student_pairs_come_from_both_keys(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(TEACHER_AND_STUDENTS)
    assert load_app(tmp_path).teacher_student_pairs == (("large", "other"), ("large", "quick"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('teacher = "large"', 'teacher = "quick"', "the choices are large, other"),
        ('teacher = "large"', 'teacher = "missing"', "the choices are large, other"),
        ('teacher = "large"\ntrain = { recipe = "distil" }', 'teacher = "large"', "no other recipe takes one"),
        ('recipe = "distil"', 'recipe = "finetune"', "no other recipe takes one"),
        ("spacing_mm = [1, 1, 1]", "spacing_mm = [2, 1, 1]", "on the same grid"),
    ],
)
def test_an_unsuitable_teacher_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "app.toml").write_text(TEACHER_AND_STUDENTS.replace(old, new, 1))
    with pytest.raises(SpecError, match=message):
        load_app(tmp_path)


def test_a_student_must_be_another_task_with_the_same_labels(tmp_path: Path) -> None:
    text = """
    [app]
    name = "two"
    [[task]]
    name = "teacher"
    kind = "segmentation"
    model = "topowmamba_base"
    labels = ["tube"]
    student = "{student}"
    image = {{ spacing_mm = [1, 1, 1], window = [-1000, 400], roi = [64, 64], crop_margin_mm = 10 }}
    [[task]]
    name = "small"
    kind = "segmentation"
    model = "topowmamba_tiny"
    labels = ["tube"]
    image = {{ spacing_mm = [1, 1, 1], window = [-1000, 400], roi = [64, 64] }}
    """
    (tmp_path / "app.toml").write_text(text.format(student="small"))
    teacher = load_app(tmp_path).task("teacher")
    assert teacher.student == "small" and teacher.image.crop_margin_mm == 10.0
    for wrong in ("teacher", "missing"):
        (tmp_path / "app.toml").write_text(text.format(student=wrong))
        with pytest.raises(SpecError, match="student"):
            load_app(tmp_path)


def test_scores_add_strategies_which_have_a_prefix_if_several_tasks_have_scores() -> None:
    table = changed("task.scores", {"by": "dropout", "pool": 20})
    table["app"]["strategy"] = "entropy_diversity"
    app = read_app(table)
    assert app.task("seg").scores == ScoreSpec(by="dropout", pool=20)
    assert list(scored_strategies(app.tasks)) == list(SCORED)
    two = [*table["task"], table["task"][0] | {"name": "other"}, GOOD["task"][0] | {"name": "third"}]
    with pytest.raises(SpecError, match="the choices are random, seg_foreground_random"):
        read_app(table | {"task": two})
    app = read_app(table | {"task": two, "app": {"name": "demo", "strategy": "other_topology"}})
    found = scored_strategies(app.tasks)
    assert len(found) == 2 * len(SCORED) and found["other_topology"] == (app.task("other"), "topology")


def test_a_cold_start_needs_a_click_task(tmp_path: Path) -> None:
    head = {"app": {"name": "demo", "strategy": "cold_start"}}
    with pytest.raises(
        SpecError, match=r"encoder of a click task, and this app has none; add a .* choose one of: random"
    ):
        read_app(GOOD | head)
    image = {"spacing_mm": [1, 1, 1], "window": [0, 1], "roi": [64, 64]}
    click = {"name": "click", "kind": "click", "model": "sam_tiny", "object": "organ", "labels": ["organ"]}
    app = read_app(head | {"task": [*GOOD["task"], click | {"image": image}]})
    assert app.cold_start_task == app.task("click") and app.after_cold_start == "random"
    scored = changed("task.scores", {})["task"]
    app = read_app(head | {"task": [*scored, click | {"image": image}]})
    assert app.after_cold_start == "entropy_diversity"


def test_no_label_is_tubular_unless_it_is_declared() -> None:
    assert read_app(GOOD).tasks[0].tubular == ()
    assert read_app(changed("task.tubular", ["b"])).tasks[0].tubular == ("b",)


def test_the_airway_is_tubular_as_a_whole() -> None:
    """Its recorded clDice is that of all parts together."""
    assert all(set(task.tubular) == set(task.labels) for task in load_app(ROOT / "apps" / "airway").tasks)


def test_topology_is_declared_for_one_label_or_for_several_together() -> None:
    table = changed("task.topology", {"a": {"components": 1, "loops": 0}, "a + b": {"cavities": 2}})
    assert read_app(table).tasks[0].topology == (
        Expected(("a",), components=1, loops=0),
        Expected(("a", "b"), cavities=2),
    )
