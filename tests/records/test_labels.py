"""Label versions: every saved label stays unchanged, even if later saves fail."""

import errno
import re
import shutil
from pathlib import Path

import pytest

from lib.records.card import hash_file, hash_labels
from lib.records.labels import FOUND, LabelVersions, Origin, save_refused
from lib.records.ledger import Ledger


@pytest.fixture
def labels(tmp_path: Path) -> LabelVersions:
    return LabelVersions(tmp_path, Ledger.of(tmp_path))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "ct.nii.gz").write_bytes(b"image")
    return tmp_path / "ct.nii.gz"


def label(folder: Path, content: bytes, suffix: str = ".nii.gz") -> Path:
    path = folder / f"upload{suffix}"
    path.write_bytes(content)
    return path


def test_every_version_is_kept_and_the_last_one_is_the_newest(
    labels: LabelVersions, image: Path, tmp_path: Path
) -> None:
    for content, suffix in ((b"one", ".nii.gz"), (b"two", ".nrrd"), (b"one", ".nii.gz")):
        kept = labels.save_copy("ct", label(tmp_path, content, suffix))
        labels.record("ct", image, "final", kept, Origin(who="Anna", version="v1", seconds=3.5))
        newest = labels.newest("ct", "final")
        assert newest == kept and newest.read_bytes() == content and newest.name.endswith(suffix)
    assert {path.read_bytes() for path in kept.parent.iterdir()} == {b"one", b"two"}
    row = labels.ledger.rows("label", "ct")[0]
    assert row.body["image"] == hash_file(image) and row.body["label"] == hash_file(kept)
    assert row.body["files"] == {kept.relative_to(tmp_path).as_posix(): row.body["label"]}
    assert (row.body["who"], row.body["version"], row.body["seconds"]) == ("Anna", "v1", 3.5)
    assert labels.newest("ct", "original") is None and labels.newest("other", "final") is None


def test_a_removed_label_is_not_the_newest_but_its_file_is_kept(
    labels: LabelVersions, image: Path, tmp_path: Path
) -> None:
    kept = labels.save_copy("ct", label(tmp_path, b"one"))
    labels.record("ct", image, "final", kept, Origin())
    labels.record_removal("ct", "final")
    assert labels.newest("ct", "final") is None and kept.read_bytes() == b"one"


def test_a_label_found_in_the_store_is_recorded_once(labels: LabelVersions, image: Path, tmp_path: Path) -> None:
    found = label(tmp_path, b"copied there by hand")
    (kept,) = {labels.ensure_recorded("ct", image, "final", found) for _ in range(2)}
    (row,) = labels.ledger.rows("label")
    assert kept.read_bytes() == b"copied there by hand" and kept != found
    assert row.body["label"] == hash_file(found) and row.body["source"] == FOUND


@pytest.mark.parametrize("name", ["", "../out", "a/b", "..", ".hidden"])
def test_image_names_that_leave_the_folder_are_refused(labels: LabelVersions, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        labels.save_copy(name, label(tmp_path, b"x"))


def test_a_damaged_version_is_repaired_by_saving_the_label_again(labels: LabelVersions, tmp_path: Path) -> None:
    kept = labels.save_copy("ct", label(tmp_path, b"one"))
    kept.write_bytes(b"oXe")
    assert labels.save_copy("ct", label(tmp_path, b"one")).read_bytes() == b"one"


def test_a_failed_write_leaves_earlier_versions_unchanged(
    labels: LabelVersions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = labels.save_copy("ct", label(tmp_path, b"one"))

    def copy_one_byte(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copy_one_byte)
    with pytest.raises(OSError, match="No space"):
        labels.save_copy("ct", label(tmp_path, b"two"))
    assert [path.read_bytes() for path in kept.parent.iterdir()] == [b"one"]


def test_a_changed_file_gets_a_new_hash(labels: LabelVersions, image: Path) -> None:
    before = labels.hash(image)
    image.write_bytes(b"another image")
    assert labels.hash(image) == hash_file(image) != before


def test_a_refused_label_is_saved_once_under_its_time_and_hash(tmp_path: Path) -> None:
    kept = save_refused(tmp_path, "ct", "ct.nii.gz", b"sent")
    assert re.fullmatch(r"records/refused/ct/\d{8}T\d{6}Z-[0-9a-f]{16}\.nii\.gz", kept)
    assert (tmp_path / kept).read_bytes() == b"sent"
    assert save_refused(tmp_path, "ct", "ct.nii.gz", b"sent") == kept
    assert save_refused(tmp_path, "ct", "ct.nrrd", b"other").endswith(".nrrd")
    assert len(list((tmp_path / kept).parent.iterdir())) == 2


def test_a_label_covers_at_most_the_labels_of_its_time(labels: LabelVersions, image: Path, tmp_path: Path) -> None:
    then = LabelVersions(tmp_path, labels.ledger, ("a", "b"))
    for name, covered in (("all", None), ("part", ("b",))):
        then.record(name, image, "final", then.save_copy(name, label(tmp_path, b"1")), Origin(covered=covered))
    assert [row.body["covered"] for row in labels.ledger.rows("label")] == [["a", "b"], ["b"]]
    assert (then.covered("all", "final"), then.covered("part", "final")) == (None, ("b",))
    now = LabelVersions(tmp_path, labels.ledger, ("a", "renamed", "c"))
    assert now.covered("all", "final") == ("a", "renamed"), "a label keeps its value when its name changes"
    assert now.covered("part", "final") == ("renamed",)
    assert labels.ledger.verify() == []


def test_a_row_without_names_covers_the_labels_of_the_nearest_version(labels: LabelVersions, image: Path) -> None:
    """Rows of earlier releases have no names; versions in the ledger have a hash of the labels."""
    now = LabelVersions(labels.app_dir, labels.ledger, ("a", "b", "c"))
    for name in ("early", "late"):
        labels.ledger.append("label", name, {"tag": "final", "label": "x"})
        if name == "early":
            assert now.covered("early", "final") is None, "nothing is known"
        for count in (1, 2):
            labels.ledger.append(
                "version", "t", {"version": f"{name}{count}", "label_schema": hash_labels("abc"[:count])}
            )
    assert now.covered("early", "final") == ("a",), "the first version after it"
    assert now.covered("late", "final") == ("a", "b"), "the last version before it"


def test_a_new_statement_about_a_label_is_a_new_row(labels: LabelVersions, image: Path, tmp_path: Path) -> None:
    versions = LabelVersions(tmp_path, labels.ledger, ("a", "b"))
    file = label(tmp_path, b"1")
    for covered, rows in ((None, 1), (None, 1), (("a",), 2), (("a",), 2), (None, 2), (("a", "b"), 3)):
        versions.ensure_recorded("ct", image, "final", file, covered)
        assert len(labels.ledger.rows("label")) == rows, covered
    assert versions.covered("ct", "final") is None
