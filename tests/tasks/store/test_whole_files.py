"""Files of the store on a disk that fills up half-way: the old one is there whole, and the new one not at all."""

import shutil
from pathlib import Path

import pytest

from lib.tasks.store.whole_files import WholeFiles


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


def half(_: object, target: Path) -> None:
    Path(target).write_bytes(b"anoth")
    raise OSError(28, "No space left on device")


def test_an_image_is_added_with_what_is_known_of_it(studies: Path, upload: Path) -> None:
    store = WholeFiles(str(studies))
    assert store.add_image("", str(upload), {"PatientID": "Anna"}) == "upload"
    assert store.add_image("ct_2", str(upload), {}) == "ct_2"
    for again in (store, WholeFiles(str(studies))):
        assert set(again.list_images()) == {"ct_1", "ct_2", "upload"}
        assert Path(again.get_image_uri("ct_2")).read_bytes() == b"another image"
        assert again.get_image_info("upload")["PatientID"] == "Anna"


def test_half_an_image_is_no_study(studies: Path, upload: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = WholeFiles(str(studies))
    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(shutil, "copyfile", half)
        store.add_image("ct_2", str(upload), {})
    assert store.list_images() == ["ct_1"] == WholeFiles(str(studies)).list_images()
    store.add_image("ct_2", str(upload), {})
    assert Path(store.get_image_uri("ct_2")).read_bytes() == b"another image"


def test_an_index_that_cannot_be_written_stays_whole(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torn index keeps MONAI Label from starting."""
    store = WholeFiles(str(studies))
    before = (studies / "datastore_v2.json").read_text()
    with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
        full.setattr(Path, "write_text", lambda path, text: half(text, path))
        store.update_image_info("ct_1", {"note": "x"})
    assert (studies / "datastore_v2.json").read_text() == before and WholeFiles(str(studies))
