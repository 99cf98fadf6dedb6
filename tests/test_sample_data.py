"""The sample study: the real head CT with its reference in another folder, and the procedural study without the CT."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pydicom
import pytest

from lib.data.scintigraphy.counts import read_counts
from lib.data.scintigraphy.sample import bone_scan

FOLDER = Path(__file__).resolve().parents[1] / "sample-data"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sample_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build() -> ModuleType:
    return load_script("build")


def test_the_real_head_ct_is_built(build: ModuleType, tmp_path: Path) -> None:
    if not build.ARCHIVE.exists():
        pytest.skip(f"the Debian package {build.PACKAGE} is not installed")
    assert build.main(tmp_path) == 0
    scan, label = (nib.load(tmp_path / kind / "head_ct.nii.gz") for kind in ("studies", "reference"))
    assert scan.shape == (256, 256, 108) and np.allclose(scan.header.get_zooms(), (0.957, 0.957, 1.5))
    assert (scan.affine == label.affine).all()
    voxel_ml = np.prod(scan.header.get_zooms()) / 1000
    assert np.asarray(label.dataobj).sum() * voxel_ml == pytest.approx(58.7, abs=0.1)
    assert not list((tmp_path / "studies").rglob("*reference*")), (
        "the reference is not in the served folder, so no training can use it"
    )


def test_falls_back_to_a_procedural_study(build: ModuleType, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(build, "ARCHIVE", tmp_path / "absent.inv3")
    monkeypatch.setattr(build, "install_package", lambda: "run `sudo apt-get install it`")
    assert build.main(tmp_path) == 0
    output = capsys.readouterr()
    assert "sudo apt-get" in output.err and "procedural" in output.out
    assert (tmp_path / "studies" / "phantom_sample.nii.gz").exists()


def test_a_volume_with_another_sha256_is_refused(build: ModuleType, monkeypatch) -> None:
    if not build.ARCHIVE.exists():
        pytest.skip(f"the Debian package {build.PACKAGE} is not installed")
    monkeypatch.setattr(build, "MATRIX_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="sha256"):
        build.read_matrix()


def test_the_real_bone_scan_is_thinned_to_half(tmp_path: Path, monkeypatch, capsys) -> None:
    scans = load_script("scans")
    monkeypatch.setattr(scans, "HERE", tmp_path)
    try:
        whole = read_counts(bone_scan())
    except FileNotFoundError as error:
        pytest.skip(str(error))
    scans.main()
    half = read_counts(tmp_path / "scans" / "bone_scan_half.dcm")
    assert half.counts.sum() == pytest.approx(whole.counts.sum() / 2, rel=0.01) and (half.counts <= whole.counts).all()
    header = pydicom.dcmread(tmp_path / "scans" / "bone_scan_half.dcm", stop_before_pixels=True)
    assert "THINNED SCAN" in header.DerivationDescription and "restored" not in header.SeriesDescription
    stamp = (tmp_path / "scans" / "bone_scan_half.dcm").stat().st_mtime_ns
    scans.main()
    assert (
        tmp_path / "scans" / "bone_scan_half.dcm"
    ).stat().st_mtime_ns == stamp and "thinned" in capsys.readouterr().out
