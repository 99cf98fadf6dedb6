"""A refused label is kept unchanged and once, and the answer names its path."""

from pathlib import Path

import pytest

from lib.data.findings import reject
from lib.server.refusals import Refused
from lib.server.routes.quarantine import quarantine_failed


def refuse(app_dir: Path, label: Path, content: bytes) -> Refused:
    label.write_bytes(content)
    with pytest.raises(Refused) as caught, quarantine_failed(app_dir, "ct_1", label):
        label.write_bytes(b"rewritten meanwhile")
        raise reject("LABEL_GRID", "It lies on another grid.", "Export it again.")
    return caught.value


def test_a_rejected_file_is_kept_unchanged(tmp_path: Path) -> None:
    app_dir, label = tmp_path / "app", tmp_path / "label.nii.gz"
    refused = refuse(app_dir, label, b"sent")
    kept = refused.body["kept"]
    assert (refused.status, refused.body["code"]) == (422, "LABEL_GRID")
    assert kept.startswith("records/refused/ct_1/") and kept.endswith(".nii.gz") and kept in refused.body["detail"]
    assert (app_dir / kept).read_bytes() == b"sent"
    assert refuse(app_dir, label, b"sent").body["kept"] == kept
    assert refuse(app_dir, label, b"another").body["kept"] != kept


def test_an_accepted_file_is_not_quarantined(tmp_path: Path) -> None:
    (tmp_path / "label.nrrd").write_bytes(b"sent")
    with quarantine_failed(tmp_path / "app", "ct_1", tmp_path / "label.nrrd"):
        pass
    assert not (tmp_path / "app").exists()


def test_a_file_is_kept_if_the_server_fails(tmp_path: Path) -> None:
    (tmp_path / "label.nrrd").write_bytes(b"sent")
    with pytest.raises(Refused) as caught, quarantine_failed(tmp_path / "app", "ct_1", tmp_path / "label.nrrd"):
        raise AttributeError("'str' object has no attribute 'get'")
    body = caught.value.body
    assert (caught.value.status, body["code"]) == (500, "INTERNAL") and body["id"]
    assert (tmp_path / "app" / body["kept"]).read_bytes() == b"sent"


def test_a_disk_that_takes_no_file_gives_the_reason_of_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib.server.routes.quarantine.save_refused", fail)
    (tmp_path / "label.nrrd").write_bytes(b"sent")
    with pytest.raises(Refused) as caught, quarantine_failed(tmp_path / "app", "ct_1", tmp_path / "label.nrrd"):
        raise OSError(28, "No space left on device")
    assert caught.value.body["code"] == "DISK_FULL" and "kept" not in caught.value.body
