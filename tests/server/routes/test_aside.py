"""What is refused is kept as it was sent, once, and the answer says where."""

from pathlib import Path

import pytest

from lib.data.findings import reject
from lib.server.refusals import Refused
from lib.server.routes.aside import kept_aside


def refuse(app_dir: Path, label: Path, content: bytes) -> Refused:
    label.write_bytes(content)
    with pytest.raises(Refused) as caught, kept_aside(app_dir, "ct_1", label):
        label.write_bytes(b"rewritten meanwhile")
        raise reject("LABEL_GRID", "It lies on another grid.", "Export it again.")
    return caught.value


def test_the_file_is_kept_as_it_was_sent(tmp_path: Path) -> None:
    app_dir, label = tmp_path / "app", tmp_path / "label.nii.gz"
    refused = refuse(app_dir, label, b"sent")
    kept = refused.body["kept"]
    assert (refused.status, refused.body["code"]) == (422, "LABEL_GRID")
    assert kept.startswith("records/refused/ct_1/") and kept.endswith(".nii.gz") and kept in refused.body["detail"]
    assert (app_dir / kept).read_bytes() == b"sent"
    assert refuse(app_dir, label, b"sent").body["kept"] == kept
    assert refuse(app_dir, label, b"another").body["kept"] != kept


def test_what_is_accepted_is_not_kept_here(tmp_path: Path) -> None:
    (tmp_path / "label.nrrd").write_bytes(b"sent")
    with kept_aside(tmp_path / "app", "ct_1", tmp_path / "label.nrrd"):
        pass
    assert not (tmp_path / "app").exists()
