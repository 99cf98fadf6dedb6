"""Verification: one flipped byte in the ledger, a label version or a model version is reported."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lib.records.card import hash_file
from lib.records.labels import LabelVersions, Origin
from lib.records.ledger import FILE, Ledger
from lib.records.verify import verify


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    """An app with two labels of one study and a model version."""
    studies, app = tmp_path / "studies", tmp_path / "app"
    final = studies / "labels" / "final"
    final.mkdir(parents=True)
    (studies / "ct.nii.gz").write_bytes(b"image")
    labels = LabelVersions(app, Ledger.of(app))
    for content in (b"first label", b"second label"):
        (final / "ct.nii.gz").write_bytes(content)
        kept = labels.save_copy("ct", final / "ct.nii.gz")
        labels.record("ct", studies / "ct.nii.gz", "final", kept, Origin())
    weights = app / "model" / "tubes" / "versions" / "v1" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    files = {weights.relative_to(app).as_posix(): hash_file(weights)}
    labels.ledger.append("version", "tubes", {"version": "v1", "files": files})
    return app


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_intact_records_have_no_fault(app_dir: Path, tmp_path: Path) -> None:
    assert verify(app_dir, tmp_path / "studies").as_dict() == {"ok": True, "rows": 3, "files": 3, "faults": []}
    assert verify(tmp_path / "nothing yet").as_dict()["ok"]


def test_a_flipped_byte_in_a_label_version_is_reported(app_dir: Path) -> None:
    for path in sorted((app_dir / "records" / "labels" / "ct").iterdir()):
        flip(path)
        (fault,) = verify(app_dir).faults
        assert fault.startswith("label version") and path.name in fault and "not as it was recorded" in fault
        flip(path)
    assert not verify(app_dir).faults


def test_a_flipped_byte_in_a_model_version_is_reported(app_dir: Path) -> None:
    flip(app_dir / "model" / "tubes" / "versions" / "v1" / "weights.safetensors")
    (fault,) = verify(app_dir).faults
    assert fault == "model version model/tubes/versions/v1/weights.safetensors (row 3) is not as it was recorded"


def test_a_flipped_byte_in_the_ledger_is_reported(app_dir: Path) -> None:
    path = app_dir / "records" / FILE
    data = bytearray(path.read_bytes())
    data[data.find(b"submitted")] ^= 1
    path.write_bytes(data)
    assert [fault for fault in verify(app_dir).faults if "row 2 (label ct) does not match its hash" in fault]


def test_a_ledger_that_cannot_be_read_is_a_fault(app_dir: Path) -> None:
    with closing(sqlite3.connect(app_dir / "records" / FILE)) as connection:
        connection.execute("DROP TRIGGER ledger_no_update")
        connection.execute("UPDATE ledger SET body = 'x' WHERE seq = 1")
        connection.commit()
    faults = verify(app_dir).faults
    assert faults[0] == "row 1 (label ct) does not match its hash" and len(faults) == 2


def test_a_missing_file_is_reported(app_dir: Path) -> None:
    (app_dir / "model" / "tubes" / "versions" / "v1" / "weights.safetensors").unlink()
    assert [fault for fault in verify(app_dir).faults if "v1" in fault and fault.endswith("is missing")]


def test_a_final_label_that_differs_from_the_newest_recorded_one_is_reported(app_dir: Path, tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    final = studies / "labels" / "final" / "ct.nii.gz"
    final.write_bytes(b"first label")
    assert verify(app_dir, studies).faults == ["the final label of ct differs from the label of row 2"]
    final.unlink()
    assert verify(app_dir, studies).faults == ["the final label of ct (row 2) is missing"]
    LabelVersions(app_dir, Ledger.of(app_dir)).record_removal("ct", "final")
    assert verify(app_dir, studies).faults == []
    final.write_bytes(b"first label")
    assert "was removed (row 4)" in verify(app_dir, studies).faults[0]


def test_another_image_of_the_same_name_is_not_compared(app_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "studies" / "ct.nii.gz").write_bytes(b"another image")
    (tmp_path / "studies" / "labels" / "final" / "ct.nii.gz").write_bytes(b"its label")
    assert verify(app_dir, tmp_path / "studies").faults == []
