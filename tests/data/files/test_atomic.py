"""Files are replaced atomically."""

import os
from pathlib import Path

import pytest

from lib.data.files import atomic
from lib.data.files.atomic import replacing


def test_old_file_remains_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="cut"), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("cut")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_disk_before_the_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, swap = atomic.sync, os.replace
    monkeypatch.setattr(atomic, "sync", lambda p: (events.append("sync dir" if p.is_dir() else "sync file"), sync(p)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), swap(a, b)))
    with replacing(tmp_path / "a.nii.gz") as temporary:
        temporary.write_text("whole")
    assert events == ["sync file", "replace", "sync dir"]
