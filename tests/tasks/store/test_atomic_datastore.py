"""Atomic writes on a disk that becomes full during a write: the former file stays complete."""

import shutil
from pathlib import Path

import pytest

from lib.tasks.store.atomic_datastore import AtomicDatastore


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "ct_1.nii.gz").write_bytes(b"image")
    return folder


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "upload.nii.gz"
    path.write_bytes(b"another image")
    return path


def write_half(_: object, target: Path) -> None:
    Path(target).write_bytes(b"anoth")
    raise OSError(28, "No space left on device")


def test_an_image_is_added_with_its_facts(studies: Path, upload: Path) -> None:
    store = AtomicDatastore(str(studies))
    assert store.add_image("", str(upload), {"PatientID": "Anna"}) == "upload"
    assert store.add_image("ct_2", str(upload), {}) == "ct_2"
    for reopened in (store, AtomicDatastore(str(studies))):
        assert set(reopened.list_images()) == {"ct_1", "ct_2", "upload"}
        assert Path(reopened.get_image_uri("ct_2")).read_bytes() == b"another image"
        assert reopened.get_image_info("upload")["PatientID"] == "Anna"


def test_a_partly_written_image_is_not_a_study(studies: Path, upload: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = AtomicDatastore(str(studies))
    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(shutil, "copyfile", write_half)
        store.add_image("ct_2", str(upload), {})
    assert store.list_images() == ["ct_1"] == AtomicDatastore(str(studies)).list_images()
    store.add_image("ct_2", str(upload), {})
    assert Path(store.get_image_uri("ct_2")).read_bytes() == b"another image"


def test_an_index_that_cannot_be_written_stays_complete(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MONAI Label cannot start with a partly written index."""
    store = AtomicDatastore(str(studies))
    before = (studies / "datastore_v2.json").read_text()
    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(Path, "write_text", lambda path, text: write_half(text, path))
        store.update_image_info("ct_1", {"note": "x"})
    assert (studies / "datastore_v2.json").read_text() == before and AtomicDatastore(str(studies))


def test_files_of_a_tag_are_listed_with_the_names_of_their_images(studies: Path) -> None:
    store = AtomicDatastore(str(studies))
    final = store.label_folder("final")
    for name in ("ct_1.nii.gz", "other.nii.gz", "notes.txt", ".ct_1.nii.gz.x7.nii.gz"):
        (final / name).write_bytes(b"label")
    (final / "more").mkdir()
    assert store.found_files("final") == [(final / "ct_1.nii.gz", "ct_1"), (final / "other.nii.gz", "other")]
    assert store.other_files("final") == ["more", "notes.txt"]
    assert store.found_files("absent") == [] and store.other_files("absent") == []
    assert store.image_file("ct_1") == studies / "ct_1.nii.gz" and not store.image_file("absent").suffix
