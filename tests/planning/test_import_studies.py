"""Studies and labels are imported into the app, recorded with their author, and pass the checks there."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.cases import find_cases
from lib.planning import import_studies as module
from lib.planning.collect import collect
from lib.planning.import_studies import import_studies
from lib.planning.write_app import write_app
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.tasks.spec import load_app
from lib.tasks.training.checked_cases import check_cases
from tests.planning.conftest import SHAPE, make_case, write
from tests.planning.test_choices import MR, plan

SOURCES = {"tube": 2, "ball": 1}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    write_app(tmp_path / "app", plan(MR, labels=tuple(SOURCES)), MR, "images")
    return tmp_path / "app"


def test_labels_get_the_values_of_the_app_and_their_author(app: Path, folders: tuple[Path, Path]) -> None:
    done = import_studies(app, collect(*folders).cases, {}, SOURCES, "import:labels")
    assert (done.studies, done.labels, done.refused) == (6, 5, {})
    cases = {case.id: case for case in find_cases(app / "studies")}
    assert len(cases) == 6 and cases["p5"].label is None and cases["p0"].label is not None
    stored = np.asarray(nib.load(cases["p0"].label).dataobj)
    np.testing.assert_array_equal(stored, np.choose(make_case(0)[1], [0, 2, 1]))
    rows = Ledger.of(app).rows("label")
    assert [row.subject for row in rows] == [f"p{n}" for n in range(5)]
    assert {row.body["who"] for row in rows} == {"import:labels"} and verify(app).faults == []


def test_a_training_uses_them_as_they_are(app: Path, folders: tuple[Path, Path]) -> None:
    import_studies(app, collect(*folders).cases, {}, SOURCES, "import:labels")
    ledger = Ledger.of(app)
    kept = check_cases(load_app(app), LabelVersions(app, ledger), find_cases(app / "studies"))
    assert sum(case.label is not None for case in kept) == 5 and len(ledger.rows("label")) == 5, "nothing new to record"


def test_labels_that_cannot_be_used_are_named_and_their_studies_stay_open(
    app: Path, folders: tuple[Path, Path]
) -> None:
    write(folders[1] / "p1.nii.gz", np.full(SHAPE, 9, np.uint8))
    write(folders[1] / "p2.nii.gz", np.zeros((3, 3, 3), np.uint8))
    done = import_studies(app, collect(*folders).cases, {}, SOURCES, "import:labels")
    assert (done.studies, done.labels) == (6, 3)
    assert "LABEL_VALUES" in done.refused["p1"] and "LABEL_GRID" in done.refused["p2"]
    assert {case.id for case in find_cases(app / "studies") if case.label} == {"p0", "p3", "p4"}


@pytest.mark.parametrize("linked", [True, False])
def test_images_are_linked_or_copied_and_never_changed(
    app: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another disk")

    if not linked:
        monkeypatch.setattr(module, "link", refuse)
    before = {path: path.read_bytes() for path in folders[0].iterdir()}
    import_studies(app, collect(*folders).cases, {}, SOURCES, "import:labels")
    shutil.rmtree(app / "studies" / "labels")
    for path, content in before.items():
        copy = app / "studies" / path.name
        assert copy.read_bytes() == content == path.read_bytes() and copy.samefile(path) == linked
    with pytest.raises(ValueError, match="already"):
        import_studies(app, collect(*folders).cases, {}, SOURCES, "import:labels")


def test_images_that_the_gate_refuses_are_left_out(app: Path, folders: tuple[Path, Path]) -> None:
    content = (folders[0] / "p0.nii.gz").read_bytes()
    (folders[0] / "p0.nii.gz").write_bytes(content[: len(content) // 2])
    done = import_studies(app, collect(*folders).cases, {}, SOURCES, "import:labels")
    assert (done.studies, done.labels) == (5, 4) and "TRUNCATED" in done.refused["p0"]
    assert not (app / "studies" / "p0.nii.gz").exists()


def test_what_a_label_covers_is_imported_with_it(app: Path, folders: tuple[Path, Path]) -> None:
    voxels = make_case(0)[1]
    write(folders[1] / "p0.nii.gz", np.where(voxels == 2, 2, 0).astype(np.uint8))
    (folders[1] / "p0.covered.json").write_text('{"covered": ["tube"]}')
    (folders[1] / "p1.covered.json").write_text('{"covered": ["tube"]}')
    done = import_studies(app, collect(*folders).cases, {}, SOURCES, "import:labels")
    assert "has voxels of ball" in done.refused["p1"] and done.labels == 4
    cases = {case.id: case for case in find_cases(app / "studies")}
    assert (cases["p0"].covered, cases["p2"].covered) == (("tube",), None)
    rows = {row.subject: row.body["covered"] for row in Ledger.of(app).rows("label")}
    assert rows["p0"] == ["tube"] and set(rows["p2"]) == {"tube", "ball"}
