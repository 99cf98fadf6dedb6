"""Labels that other programs put into labels/final: each is right and recorded, or refused by name and not used."""

import json
import logging
import shutil
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.pipeline import load_label
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.tasks.kinds import found_label_check
from lib.tasks.spec import load_app
from lib.tasks.store import final_labels as module
from lib.tasks.store.archive import attach_records
from lib.tasks.store.final_labels import FinalLabels
from lib.tasks.store.folder import FolderStore
from lib.tasks.store.proposals import Proposals
from lib.tasks.training.train import labelled_cases
from tests.cases import write_cases

STUDIES = ["p1", "p2", "p3", "p4", "other_grid", "value_9", "fractional", "other_suffix", "two_labels"]
STUDIES += ["shift_affine", "scan.v2", "nnunet_0000"]
RIGHT = ["other_suffix", "p1", "p2", "p3", "p4", "scan.v2"]
REFUSED = {
    "fractional": ("LABEL_VALUES", "such as 2.5 at voxel"),
    "nnunet": ("NO_STUDY", "'nnunet'"),
    "no_image_of_it": ("NO_STUDY", "'no_image_of_it'"),
    "other_grid": ("LABEL_GRID", "95 x 88 x 40, the image has 96 x 88 x 40"),
    "shift_affine": ("LABEL_GRID", "origin in mm (RAS) (125, 117, 0), the image has (95, 87, -30)"),
    "two_labels": ("SEVERAL_LABELS", "two_labels.nii, two_labels.nii.gz"),
    "value_9": ("LABEL_VALUES", "value 9"),
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cases("labels_put_by_hand", tmp_path_factory.mktemp("by hand"))


@pytest.fixture
def studies(cases: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cases, tmp_path / "studies"))


@pytest.fixture
def by_hand(studies: Path) -> Path:
    """Folder of the final labels."""
    return studies / "labels" / "final"


@pytest.fixture
def airway(app_dir: Path) -> Path:
    """The tiny app with the labels of the cases."""
    text = (app_dir / "app.toml").read_text()
    names = '["nasal_cavity", "sinuses", "pharynx", "larynx", "trachea"]'
    (app_dir / "app.toml").write_text(text.replace('["tube", "cavity"]', names))
    return app_dir


def open_store(app_dir: Path, studies: Path, **options: bool) -> tuple[FolderStore, FinalLabels]:
    store = FolderStore(str(studies), extensions=["*.nii.gz", "*.nii", "*.nrrd", "*.mha"], **options)
    app = load_app(app_dir)
    versions = LabelVersions(app_dir, Ledger.of(app_dir), app.tasks[0].labels)
    check = found_label_check(app_dir, app)
    attach_records(store, versions, Proposals(), None, check)
    assert store.final is not None
    return store, store.final


def truth(name: str) -> np.ndarray:
    """Return the label that the script of the cases draws for a study."""
    x, y, z = np.meshgrid(*map(np.arange, (96, 88, 40)), indexing="ij")
    tube = (x - 48 - z // 4) ** 2 + (y - 40 - STUDIES.index(name) % 5) ** 2 < 49
    return np.where(tube, np.where(z > 25, 3, 5), 0)


def names(final: FinalLabels) -> list[str]:
    return [label.study for label in final.refused]


def test_each_label_is_right_or_refused_by_name(airway: Path, studies: Path) -> None:
    store, final = open_store(airway, studies)
    assert final.check_all() == 0
    found = {label.study: label.finding for label in final.refused}
    assert found.keys() == REFUSED.keys()
    for name, (code, text) in REFUSED.items():
        assert found[name].code == code and text in found[name].reason and found[name].remedy
    assert sorted(store.get_labeled_images()) == RIGHT and store.status()["completed"] == len(RIGHT)
    assert len(store.get_unlabeled_images()) == len(STUDIES) - len(RIGHT), "a study with a bad label is offered again"
    trained = labelled_cases(store)
    assert [case.id for case in trained] == RIGHT
    for case in trained:
        image = nib.load(case.image)
        assert case.label and np.array_equal(load_label(case.label, image.shape, image.affine), truth(case.id))
    rows = store.labels.ledger.rows("label")
    assert sorted(row.subject for row in rows) == RIGHT and {row.body["source"] for row in rows} == {"found"}
    assert verify(airway).faults == []


def test_a_likely_name_is_proposed(airway: Path, studies: Path, by_hand: Path) -> None:
    (by_hand / "value_9.nii.gz").unlink()
    (by_hand / "p1.nii.gz").rename(by_hand / "p1.seg.nrrd")
    (by_hand / "notes.txt").write_text("not a label")
    (by_hand / "reader_2").mkdir()
    (by_hand / ".hidden.nii.gz").write_text("being written")
    _, final = open_store(airway, studies)
    final.check_all()
    remedies = {label.study: label.finding.remedy for label in final.refused}
    assert "nnunet_0000.nii.gz" in remedies["nnunet"] and "'p1.nrrd'" in remedies["p1.seg"]
    assert "Move its files" in remedies["reader_2"]
    assert "notes.txt" in remedies and ".hidden" not in remedies and "value_9" not in remedies


def test_a_label_is_checked_once_and_again_when_it_changes(
    airway: Path, studies: Path, by_hand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = open_store(airway, studies)
    first.check_all()
    store, final = open_store(airway, studies)
    checked: list[str] = []
    real = FinalLabels._examine

    def examine(self: FinalLabels, study: str, files: list[Path]) -> object:
        checked.append(study)
        return real(self, study, files)

    monkeypatch.setattr(FinalLabels, "_examine", examine)
    final.check_all()
    assert checked == [] and final.refused == first.refused
    shutil.copy(by_hand / "p1.nii.gz", by_hand / "value_9.nii.gz")
    (by_hand / "p2.nii.gz").write_bytes(b"cut off")
    final.check_all()
    assert sorted(checked) == ["p2", "value_9"]
    assert "value_9" in store.get_labeled_images() and "p2" not in store.get_labeled_images()


def test_refused_labels_stay_left_out_whatever_other_processes_write(airway: Path, studies: Path) -> None:
    """The index of the store names a label until it is checked, and processes read each other's index."""
    early, _ = open_store(airway, studies)
    assert "value_9" in early.get_labeled_images(), "not checked yet"
    late, final = open_store(airway, studies)
    final.check_all()
    early.update_image_info("p1", {"seen": True})
    late.update_image_info("p2", {"seen": True})
    late.refresh()
    assert sorted(late.get_labeled_images()) == RIGHT and late.get_label_uri("value_9", "final") == ""


def test_a_submitted_label_takes_the_place_of_a_refused_one_and_is_not_checked_again(
    airway: Path, studies: Path, by_hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, final = open_store(airway, studies)
    final.check_all()
    right = shutil.copy(by_hand / "p1.nii.gz", tmp_path / "label.nii.gz")
    store.save_label("two_labels", str(right), "final", {"user": "Anna"})
    monkeypatch.setattr(FinalLabels, "_examine", lambda *_: pytest.fail("a submitted label was checked again"))
    assert "two_labels" in store.get_labeled_images()
    final.check_all()
    assert "two_labels" not in names(final)
    assert [path.name for path in by_hand.glob("two_labels*")] == ["two_labels.nii.gz"]


def test_a_label_in_another_order_is_rewritten_and_the_found_file_is_kept(
    airway: Path, studies: Path, by_hand: Path
) -> None:
    path = by_hand / "p3.nii.gz"
    nib.save(nib.as_closest_canonical(nib.load(path)), path)
    found = path.read_bytes()
    store, final = open_store(airway, studies)
    final.check_all()
    image, saved = nib.load(studies / "p3.nii.gz"), nib.load(path)
    assert np.allclose(saved.affine, image.affine) and np.array_equal(np.asarray(saved.dataobj), truth("p3"))
    (row,) = store.labels.ledger.rows("label", "p3")
    assert row.body["findings"][0]["code"] == "REWRITTEN" and len(row.body["files"]) == 2
    kept = row.body["findings"][0]["remedy"].split(" as ")[-1].rstrip(".")
    assert (airway / kept).read_bytes() == found and verify(airway, studies).faults == []
    newest = store.labels.newest("p3", "final")
    assert newest and newest.read_bytes() == path.read_bytes(), "the newest version is the rewritten one"
    assert final.check_all() == 0 and len(store.labels.ledger.rows("label", "p3")) == 1


def test_a_start_spends_no_more_than_its_time(airway: Path, studies: Path) -> None:
    store, final = open_store(airway, studies)
    assert final.check_all(seconds=-1) == final.left == 11, "the labels of studies wait"
    assert "value_9" in store.get_labeled_images() and labelled_cases(store), "a training checks them first"
    assert final.left == 0 and "value_9" not in store.get_labeled_images()


def test_a_file_that_may_still_be_written_waits(airway: Path, studies: Path, by_hand: Path) -> None:
    _, final = open_store(airway, studies)
    final.check_all()
    (by_hand / "p1.nii.gz").write_bytes(b"half of")
    assert final.check_all(settle_seconds=60) == 1 and "p1" not in names(final)
    assert final.check_all() == 0 and "p1" in names(final)


def test_a_label_that_cannot_be_recorded_waits(airway: Path, studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full or read-only disk must not keep the server from showing studies."""
    store, final = open_store(airway, studies)

    def fail(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(LabelVersions, "ensure_recorded", fail)
        assert final.check_all() == 0 and final.left == len(RIGHT)
        assert names(final) == sorted(REFUSED) and set(RIGHT) <= set(store.get_labeled_images())
    final.check_all()
    assert final.left == 0 and len(store.labels.ledger.rows("label")) == len(RIGHT)


def test_a_label_that_appears_is_checked_in_the_background(
    airway: Path, studies: Path, by_hand: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)
    store, final = open_store(airway, studies, auto_reload=True)
    final.check_all()
    final.watch(lambda: None)
    with caplog.at_level(logging.WARNING):
        shutil.copy(by_hand / "value_9.nii.gz", by_hand / "nnunet_0000.nii.gz")
        end = time.monotonic() + 20
        # The index of the store follows the list of refused labels a moment later.
        while "nnunet_0000" not in names(final) or "nnunet_0000" in store.get_labeled_images():
            assert time.monotonic() < end, "the new label was not checked, or it is still in use"
            time.sleep(0.02)
    assert "nnunet_0000: nnunet_0000.nii.gz is not used: LABEL_VALUES" in caplog.text
    shutil.copy(by_hand / "p1.nii.gz", by_hand / "nnunet_0000.nii.gz")  # written in place, not created
    while "nnunet_0000" not in store.get_labeled_images() or final.left:
        assert time.monotonic() < end + 20, "the corrected label was not checked"
        time.sleep(0.02)
    store._observer.stop()


def test_what_a_label_covers_is_checked_and_recorded(airway: Path, studies: Path, by_hand: Path) -> None:
    store, final = open_store(airway, studies)
    final.check_all()
    for name, covered in (("p1", ["pharynx", "trachea"]), ("p2", ["pharynx"]), ("no_label", ["pharynx"])):
        (by_hand / f"{name}.covered.json").write_text(json.dumps({"covered": covered}))
    final.check_all()
    found = {label.study: label.finding for label in final.refused}
    assert found.keys() == {*REFUSED, "p2", "no_label.covered.json"}
    assert found["p2"].code == "COVERED" and "has voxels of trachea" in found["p2"].reason
    assert "there is no such label" in found["no_label.covered.json"].reason
    assert [row.body["covered"] for row in store.labels.ledger.rows("label", "p1")][1:] == [["pharynx", "trachea"]]
    trained = {case.id: case.covered for case in labelled_cases(store)}
    assert trained["p1"] == ("pharynx", "trachea") and trained["p3"] is None and "p2" not in trained
    (by_hand / "p2.covered.json").unlink()
    final.check_all()
    assert "p2" not in names(final), "it is checked again"
