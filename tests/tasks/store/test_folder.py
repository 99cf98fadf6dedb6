"""The folder store: all versions of a label are kept, on full disks and in processes that are killed."""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from monailabel.interfaces.exception import ImageNotFoundException

from lib.records.card import hash_file
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.server.refusals import refusal
from lib.tasks.store import folder as folder_module
from lib.tasks.store.archive import attach_records
from lib.tasks.store.atomic_datastore import AtomicDatastore
from lib.tasks.store.folder import FolderStore
from lib.tasks.store.proposals import Proposals
from tests.tasks.store.test_series import write_series

ROOT = Path(__file__).resolve().parents[3]
EXTENSIONS = ["*.nii.gz", "*.nrrd"]


def open_store(app_dir: Path, studies: Path) -> FolderStore:
    store = FolderStore(str(studies), extensions=EXTENSIONS)
    recording = attach_records(store, LabelVersions(app_dir, Ledger.of(app_dir)), Proposals())
    assert isinstance(recording, FolderStore)
    return recording


def make_studies(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("ct_1", "ct_2", "ct_3"):
        (folder / f"{name}.nii.gz").write_bytes(f"image {name}".encode())
    return folder


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return make_studies(tmp_path / "studies")


@pytest.fixture
def store(app_dir: Path, studies: Path) -> FolderStore:
    return open_store(app_dir, studies)


def upload(folder: Path, content: bytes, suffix: str = ".nii.gz") -> str:
    path = folder / f"upload{suffix}"
    path.write_bytes(content)
    return str(path)


def versions(app_dir: Path, image: str = "ct_1") -> list[bytes]:
    rows = Ledger.of(app_dir).rows("label", image)
    return [(app_dir / name).read_bytes() for row in rows for name in row.body.get("files", {})]


def test_the_final_label_is_the_newest_and_all_versions_are_kept(
    store: FolderStore, app_dir: Path, tmp_path: Path
) -> None:
    for content in (b"one", b"two", b"three"):
        assert store.save_label("ct_1", upload(tmp_path, content), "final", {"user": "Anna"}) == "ct_1"
        assert Path(store.get_label_uri("ct_1", "final")).read_bytes() == content
    assert versions(app_dir) == [b"one", b"two", b"three"]
    assert {row.body["who"] for row in store.labels.ledger.rows("label")} == {"Anna"}
    again = open_store(app_dir, tmp_path / "studies")
    assert Path(again.get_label_uri("ct_1", "final")).read_bytes() == b"three"
    assert again.get_label_info("ct_1", "final")["user"] == "Anna"


def test_a_label_with_another_suffix_replaces_the_older_file(store: FolderStore, app_dir: Path, tmp_path: Path) -> None:
    """Two files would both be listed, and the older one might be used."""
    store.save_label("ct_1", upload(tmp_path, b"one", ".nrrd"), "final", {})
    store.save_label("ct_1", upload(tmp_path, b"two", ".nii.gz"), "final", {})
    final = tmp_path / "studies" / "labels" / "final"
    assert [path.name for path in final.iterdir()] == ["ct_1.nii.gz"] and versions(app_dir) == [b"one", b"two"]


def test_a_label_copied_there_by_hand_is_recorded_before_it_is_replaced(
    store: FolderStore, app_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "studies" / "labels" / "final" / "ct_1.nii.gz").write_bytes(b"by hand")
    store.refresh()
    store.save_label("ct_1", upload(tmp_path, b"two"), "final", {})
    assert versions(app_dir) == [b"by hand", b"two"]
    assert [row.body["source"] for row in store.labels.ledger.rows("label")] == ["found", "submitted"]


def test_the_version_of_a_removed_label_is_kept(store: FolderStore, app_dir: Path, tmp_path: Path) -> None:
    store.save_label("ct_1", upload(tmp_path, b"one"), "final", {})
    store.remove_label("ct_1", "final")
    store.remove_label("ct_2", "final")
    assert store.get_labeled_images() == [] and versions(app_dir) == [b"one"]
    assert [row.body["source"] for row in store.labels.ledger.rows("label")] == ["submitted", "removed"]


def test_a_label_without_an_image_is_refused_and_not_kept(store: FolderStore, app_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundException):
        store.save_label("missing", upload(tmp_path, b"one"), "final", {})
    assert store.labels.ledger.rows() == [] and not (app_dir / "records" / "labels").exists()


def test_a_failed_save_keeps_the_former_label_and_records_nothing(
    store: FolderStore, app_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_label("ct_1", upload(tmp_path, b"one"), "final", {})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AtomicDatastore, "save_label", fail)
    with pytest.raises(OSError, match="No space"):
        store.save_label("ct_1", upload(tmp_path, b"two"), "final", {})
    assert Path(store.get_label_uri("ct_1", "final")).read_bytes() == b"one"
    assert versions(app_dir) == [b"one"] and store.labels.ledger.verify() == []


def test_changes_of_another_process_are_noticed(store: FolderStore, studies: Path, tmp_path: Path) -> None:
    """Scoring and training run in processes of their own, and the server shows their results."""
    watching = FolderStore(str(studies), extensions=EXTENSIONS, auto_reload=True)
    attach_records(watching, store.labels, Proposals())
    store.update_image_info("ct_1", {"dice": 0.9})
    store.save_label("ct_2", upload(tmp_path, b"one"), "final", {})
    end = time.monotonic() + 10
    while watching.get_image_info("ct_1").get("dice") != 0.9 or watching.get_labeled_images() != ["ct_2"]:
        assert time.monotonic() < end, "the index was not read again"
        time.sleep(0.02)
    watching._observer.stop()


def test_acknowledged_labels_survive_killed_processes(app_dir: Path, studies: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.tasks.savers", str(app_dir), str(studies), "24", "11"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=180)
    reported = [json.loads(line) for line in (app_dir / "reports").read_text().splitlines()]
    assert len(reported) >= 24, "at least one label in each round"
    ledger = Ledger.of(app_dir)
    held: dict[str, list[str]] = {}
    for row in ledger.rows("label"):
        ((name, digest),) = row.body["files"].items()
        assert hash_file(app_dir / name) == digest
        held.setdefault(row.subject, []).append((app_dir / name).read_bytes()[:16].hex())
    for image in held:
        acknowledged = [begin for name, begin in reported if name == image]
        order = iter(held[image])
        assert all(begin in order for begin in acknowledged), "all acknowledged labels are kept, in order"
    for image in ("ct_1", "ct_2", "ct_3"):
        final = studies / "labels" / "final" / f"{image}.nii.gz"
        assert final.stat().st_size == 200_000, "a final label is complete"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with a size of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_labels_and_damages_none(small_disk: Path, tmp_path: Path) -> None:
    app_dir, studies = small_disk / "app", make_studies(small_disk / "studies")
    store = open_store(app_dir, studies)
    (small_disk / "ballast").write_bytes(bytes(200_000))
    saved, refused = [], []
    for number in range(40):
        content = bytes([number]) * 40_000
        try:
            store.save_label("ct_1", upload(tmp_path, content), "final", {})
            saved.append(content)
        except OSError as error:
            refused.append(refusal(error, "PUT /datastore/label"))
    assert len(saved) > 5 and len(refused) > 5
    assert {(answer.status, answer.body["code"]) for answer in refused} == {(507, "DISK_FULL")}
    final = (studies / "labels" / "final" / "ct_1.nii.gz").read_bytes()
    assert len(set(final)) == 1 and len(final) == 40_000, (
        "a complete label: the last saved one, or one whose record failed"
    )
    (small_disk / "ballast").unlink()
    again = open_store(app_dir, studies)
    again.save_label("ct_1", upload(tmp_path, b"space is free again"), "final", {})
    assert versions(app_dir) == [*saved, b"space is free again"] and again.labels.ledger.verify() == []


def test_a_read_only_disk_refuses_labels_and_damages_none(small_disk: Path, tmp_path: Path) -> None:
    app_dir, studies = small_disk / "app", make_studies(small_disk / "studies")
    store = open_store(app_dir, studies)
    store.save_label("ct_1", upload(tmp_path, b"one"), "final", {})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError) as caught:
        store.save_label("ct_1", upload(tmp_path, b"two"), "final", {})
    answer = refusal(caught.value, "PUT /datastore/label")
    assert (answer.status, answer.body["code"]) == (503, "DISK_READ_ONLY") and answer.body["remedy"]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert versions(app_dir) == [b"one"] and store.labels.ledger.verify() == []
    store.save_label("ct_1", upload(tmp_path, b"two"), "final", {})
    assert versions(app_dir) == [b"one", b"two"]


def test_a_link_to_a_file_outside_the_store_is_ignored_unless_allowed(
    app_dir: Path, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ct_8.nii.gz").write_bytes(b"secret")
    (studies / "ct_8.nii.gz").symlink_to(elsewhere / "ct_8.nii.gz")
    (studies / "ct_9.nii.gz").symlink_to(studies / "ct_1.nii.gz")
    (studies / "labels" / "final").mkdir(parents=True)
    (studies / "labels" / "final" / "ct_2.nii.gz").symlink_to(elsewhere / "ct_8.nii.gz")
    store = open_store(app_dir, studies)
    assert sorted(store.list_images()) == ["ct_1", "ct_2", "ct_3", "ct_9"]
    assert store.get_image_uri("ct_8") == "" and store.get_label_uri("ct_2", "final") == ""
    assert store.datalist() == []

    monkeypatch.setenv("TOPOLABEL_LINKED_FOLDERS", str(elsewhere))
    store = open_store(app_dir, studies)
    assert "ct_8" in store.list_images() and Path(store.get_image_uri("ct_8")).read_bytes() == b"secret"


def test_a_study_that_is_replaced_by_a_link_is_ignored(app_dir: Path, studies: Path, tmp_path: Path) -> None:
    store = open_store(app_dir, studies)
    (tmp_path / "secret").write_bytes(b"secret")
    (studies / "ct_1.nii.gz").unlink()
    (studies / "ct_1.nii.gz").symlink_to(tmp_path / "secret")
    assert store.get_image_uri("ct_1") == ""


def test_hidden_files_are_no_studies_and_leave_an_index_that_has_them(
    app_dir: Path, studies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    AtomicDatastore(str(studies), extensions=EXTENSIONS).add_image("._ct_1", str(studies / "ct_1.nii.gz"), {})
    (studies / ".ct_2.nii.gz").write_bytes(b"half")
    store = open_store(app_dir, studies)
    assert store.list_images() == ["ct_1", "ct_2", "ct_3"] and store.left_out == () and not caplog.records
    assert open_store(app_dir, studies).list_images() == ["ct_1", "ct_2", "ct_3"]


def test_suffixes_in_capitals_are_studies_and_labels(app_dir: Path, studies: Path, tmp_path: Path) -> None:
    (studies / "CT_4.NII.GZ").write_bytes(b"image")
    (studies / "labels" / "final").mkdir(parents=True)
    (studies / "labels" / "final" / "CT_4.Nii.Gz").write_bytes(b"one")
    store = open_store(app_dir, studies)
    assert Path(store.get_image_uri("CT_4")).read_bytes() == b"image" and store.get_labeled_images() == ["CT_4"]
    store.save_label("CT_4", upload(tmp_path, b"two"), "final", {})
    assert [path.name for path in (studies / "labels" / "final").iterdir()] == ["CT_4.nii.gz"]
    assert versions(app_dir, "CT_4") == [b"one", b"two"]


def test_two_files_of_one_name_are_one_study_and_the_other_is_named(
    app_dir: Path, studies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(app_dir, studies)
    (studies / "ct_1.nrrd").write_bytes(b"another")
    for name in ("a.nrrd", "a.nii.gz", "list.csv"):
        (studies / name).write_bytes(name.encode())
    store.refresh()
    assert Path(store.get_image_uri("ct_1")).name == "ct_1.nii.gz", "the study stays what it was"
    assert Path(store.get_image_uri("a")).name == "a.nii.gz"
    assert [entry.name for entry in store.left_out] == ["a.nrrd", "ct_1.nrrd", "list.csv"]
    named = [record.message for record in caplog.records]
    assert named[0] == "'a.nrrd' is no study: the study 'a.nii.gz' has the same name. Rename 'a.nrrd' or 'a.nii.gz'."
    store.refresh()
    assert len(caplog.records) == len(named), "an unchanged listing is not logged again"


@pytest.fixture
def series(studies: Path) -> Path:
    folder = write_series(studies / "series.1")
    os.utime(folder, (1, 1))
    return folder


def test_a_folder_of_one_series_is_a_study_of_its_patient(
    app_dir: Path, studies: Path, series: Path, tmp_path: Path
) -> None:
    store = open_store(app_dir, studies)
    assert store.list_images() == ["ct_1", "ct_2", "ct_3", "series.1"] and store.left_out == ()
    assert store.get_image_uri("series.1") == str(series)
    info = store.get_image_info("series.1")
    assert (info["PatientID"], info["path"], info["name"]) == ("patient-7", "", "series.1.nii.gz")
    content = store.get_image("series.1")
    assert content is not None and content.getvalue() == Path(store.file_to_download("series.1")).read_bytes()
    store.save_label("series.1", upload(tmp_path, b"label"), "final", {})
    label = str(studies / "labels" / "final" / "series.1.nii.gz")
    assert store.datalist() == [{"image": str(series), "label": label}]
    with zipfile.ZipFile(store.get_dataset_archive(None)) as archive:
        assert sorted(archive.namelist()) == ["image/series.1.nii.gz", "label/series.1.nii.gz", "metadata.json"]
    again = open_store(app_dir, studies)
    assert again.get_labeled_images() == ["series.1"]


def test_a_series_with_a_link_to_a_file_outside_is_named(
    app_dir: Path, studies: Path, series: Path, tmp_path: Path
) -> None:
    (series / "004.dcm").rename(tmp_path / "secret.dcm")
    (series / "004.dcm").symlink_to(tmp_path / "secret.dcm")
    os.utime(series, (1, 1))
    store = open_store(app_dir, studies)
    assert "series.1" not in store.list_images()
    assert [(entry.name, entry.reason) for entry in store.left_out] == [
        ("series.1", "it links to a file outside the store")
    ]


def test_folders_are_no_studies_of_an_app_that_reads_single_files(studies: Path, series: Path) -> None:
    store = FolderStore(str(studies), extensions=EXTENSIONS, series=False)
    assert "series.1" not in store.list_images() and [entry.reason for entry in store.left_out] == ["a folder"]


def test_a_series_that_is_copied_while_the_server_runs_becomes_a_study(
    app_dir: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "SETTLE_S", 0.5)
    store = FolderStore(str(studies), extensions=EXTENSIONS, auto_reload=True)
    attach_records(store, LabelVersions(app_dir, Ledger.of(app_dir)), Proposals())
    write_series(studies / "new")
    (studies / "later.txt").write_bytes(b"no image")
    end = time.monotonic() + 20
    while "new" not in store.list_images() or [entry.name for entry in store.left_out] != ["later.txt"]:
        assert time.monotonic() < end, f"{store.list_images()}, {store.left_out}"
        time.sleep(0.05)
    store._observer.stop()


def test_an_unchanged_folder_is_not_read_again(
    app_dir: Path, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the folder locks it and may write its index: neither may cause the next reading."""
    readings: list[float] = []
    monkeypatch.setattr(folder_module, "SETTLE_S", 0.2)
    store = FolderStore(str(studies), extensions=EXTENSIONS, auto_reload=True)
    attach_records(store, LabelVersions(app_dir, Ledger.of(app_dir)), Proposals())
    refresh = store.refresh
    monkeypatch.setattr(store, "refresh", lambda: (readings.append(time.monotonic()), refresh()))
    (studies / "note.txt").write_bytes(b"no image")
    store.save_label("ct_1", upload(tmp_path, b"label"), "final", {})
    time.sleep(2)
    settled = len(readings)
    time.sleep(2)
    store._observer.stop()
    assert 1 <= settled < 20 and len(readings) == settled


def test_a_saved_label_has_a_file_beside_it_that_says_what_it_covers(
    store: FolderStore, app_dir: Path, studies: Path, tmp_path: Path
) -> None:
    store.labels = LabelVersions(app_dir, Ledger.of(app_dir), ("tube", "cavity"))
    beside = studies / "labels" / "final" / "ct_1.covered.json"

    def rows() -> list[list[str]]:
        return [row.body["covered"] for row in store.labels.ledger.rows("label", "ct_1")]

    store.save_label("ct_1", upload(tmp_path, b"one"), "final", {"covered": ["tube"]})
    assert json.loads(beside.read_text()) == {"covered": ["tube"]} and rows() == [["tube"]]
    store.save_label("ct_1", upload(tmp_path, b"two", ".nrrd"), "final", {})
    assert not beside.exists() and rows() == [["tube"], ["tube", "cavity"]]
    beside.write_text('{"covered": ["cavity"]}')
    store.save_label("ct_1", upload(tmp_path, b"three"), "final", {"covered": ["tube"]})
    assert rows()[2:] == [["cavity"], ["tube"]], "what another program wrote about the former label is recorded too"
    beside.write_text("not readable")
    store.save_label("ct_1", upload(tmp_path, b"four"), "final", {"covered": ["tube"]})
    store.remove_label("ct_1", "final")
    assert not beside.exists()


def test_a_process_killed_while_it_saves_leaves_no_label_that_covers_too_much(
    store: FolderStore, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AtomicDatastore, "save_label", killed)
    with pytest.raises(KeyboardInterrupt):
        store.save_label("ct_1", upload(tmp_path, b"one"), "final", {"covered": ["tube"]})
    assert (studies / "labels" / "final" / "ct_1.covered.json").exists()
