"""An experiment's file: read, checked, and every refusal says where."""

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


def test_what_it_says(file: Path) -> None:
    plan = load_plan(file)
    assert plan.labels == (2, 4) and plan.arms == ARMS and plan.prompted
    assert plan.data.folder == str(file.parent / "cases") and plan.budget.rate == 2e-3
    assert plan.teacher_image.slice_offsets == (0,) and plan.image.slice_offsets == (-1, 0, 1)
    assert plan.as_dict()["data"]["classes"] == ["airway"]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "plans").glob("*.toml")), ids=lambda path: path.stem)
def test_the_files_that_come_with_it_can_be_read(path: Path) -> None:
    load_plan(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seeds = 2", "seeds = 2\nseads = 3", r"\[experiment\] has no key seads"),
        ('layout = "folder"', 'layout = "zip"', r"\[data\] layout is 'zip'"),
        ('folder = "cases"', "", r"\[data\] folder"),
        ('["airway"]', '["a", "b"]', "one only where all values are united"),
        ("test = 2", "test = 1", "two patients at least"),
        ('"student_conv"', '"unet"', r"\[experiment\] student is 'unet'"),
        ('"sam_tiny"', '"student_conv"', "'agnostic' imitates a foundation model"),
        ("labels = [2, 4]", "labels = []", "labels are some numbers"),
        ("roi = [32, 32]", "roi = [32, 16]", "a square one"),
        ("lesson = 4", "lesson = 0", "numbers are above 0"),
        ("[budget]", "[budged]", "the file has no key budged"),
        ("seeds = 2", 'seeds = "2"', "seeds takes int"),
        ("[data]", "[data", "is not TOML"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(file: Path, old: str, new: str, says: str) -> None:
    file.write_text(FILE.replace(old, new))
    with pytest.raises(SpecError, match=says):
        load_plan(file)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no"):
        load_plan(tmp_path / "none.toml")
