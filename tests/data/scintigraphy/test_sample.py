"""The file of the real scan is found in its package, and another file is refused."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.data.scintigraphy import sample


def test_real_file_is_found(real_scan: Path) -> None:
    assert real_scan.name == "JPEG-LL.dcm"


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sample.importlib.metadata, "distribution", missing)
    with pytest.raises(FileNotFoundError, match="pip install pydicom-data"):
        sample.bone_scan()


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.dcm").write_bytes(b"other")
    package = SimpleNamespace(locate_file=lambda place: tmp_path / "other.dcm")
    monkeypatch.setattr(sample.importlib.metadata, "distribution", lambda name: package)
    with pytest.raises(FileNotFoundError, match="another file"):
        sample.bone_scan()
