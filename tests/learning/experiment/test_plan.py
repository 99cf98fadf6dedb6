"""Reading the file of an experiment: values, checks, and errors that name the place."""

from pathlib import Path

import pytest

from lib.data.files.tables import SpecError
from lib.learning.experiment.plan import ARMS, load_plan
from tests.learning.experiment.conftest import FILE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(FILE)
    return path


def test_values_and_defaults_are_read(file: Path) -> None:
    plan = load_plan(file)
    assert plan.labels == (2, 4) and plan.arms == ARMS and plan.prompted
    assert plan.data.folder == str(file.parent / "cases") and plan.budget.rate == 2e-3
    assert plan.teacher_image.slice_offsets == (0,) and plan.image.slice_offsets == (-1, 0, 1)
    assert plan.as_dict()["data"]["classes"] == ["airway"]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "plans").glob("*.toml")), ids=lambda path: path.stem)
def test_the_plans_of_the_benchmarks_can_be_read(path: Path) -> None:
    load_plan(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 2", "seeds = 2\nseads = 3", r"\[experiment\] has no key seads"),
        ('layout = "folder"', 'layout = "zip"', r"\[data\] layout is 'zip'"),
        ('folder = "cases"', "", r"\[data\] folder"),
        ('["airway"]', '["a", "b"]', "exactly one if 'united' is true"),
        ("test = 2", "test = 1", "at least two test patients"),
        ('"student_conv"', '"unet"', r"\[experiment\] student is 'unet'"),
        ('"sam_tiny"', '"student_conv"', "'agnostic' needs a prompted teacher"),
        ("labels = [2, 4]", "labels = []", "'labels' needs one or more numbers"),
        ("roi = [32, 32]", "roi = [32, 16]", "needs a square"),
        ("lesson = 4", "lesson = 0", "numbers must be above 0"),
        ("[budget]", "[budged]", "the file has no key budged"),
        ("seeds = 2", 'seeds = "2"', "seeds takes int"),
        ("[data]", "[data", "is not TOML"),
    ],
)
def test_an_invalid_plan_is_refused_and_the_error_names_the_place(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(FILE.replace(old, new))
    with pytest.raises(SpecError, match=message):
        load_plan(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no file"):
        load_plan(tmp_path / "none.toml")
