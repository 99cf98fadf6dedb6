"""The infer task writes every supported format and refuses invalid requests."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from lib.data.scintigraphy.derived import NOTICE
from lib.tasks.restoration.infer import RestorationInfer
from lib.tasks.serving.result import RequestError
from lib.tasks.spec import TaskSpec
from tests.data.scintigraphy.conftest import make_counts, write_scan


@pytest.fixture
def infer(scans_app: Path, bones: TaskSpec, scans_starter: Path) -> RestorationInfer:
    return RestorationInfer(scans_app, bones)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_scan(tmp_path / "scan.dcm", make_counts())


def test_a_dicom_scan_returns_a_derived_dicom_scan(infer: RestorationInfer, scan: Path) -> None:
    file, params = infer({"image": str(scan), "result_extension": [".dcm", ".nrrd"]})
    assert file is not None and file.endswith(".dcm")
    made, source = pydicom.dcmread(file), pydicom.dcmread(scan)
    assert made.StudyInstanceUID == source.StudyInstanceUID and made.SOPInstanceUID != source.SOPInstanceUID
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert made.CountsAccumulated == pytest.approx(2 * source.CountsAccumulated, rel=1e-3)
    assert "version starter of bones (nafnet_tiny)" in made.DerivationDescription
    assert params["version"] == "starter" and params["notes"] == [NOTICE] and params["label_names"] == {}
    assert params["counts"]["expected"] == pytest.approx([2 * n for n in params["counts"]["recorded"]], rel=1e-3)
    assert params["counts"]["views"] == ["anterior", "posterior"] and params["latencies"]["total"] >= 0
    Path(file).unlink()


@pytest.mark.parametrize("suffix", [".nii.gz", "nrrd"])
def test_a_volume_format_on_request(infer: RestorationInfer, scan: Path, suffix: str) -> None:
    file, params = infer({"image": str(scan), "result_extension": suffix, "fraction": 0.25})
    assert file is not None and file.endswith(suffix) and params["fraction"] == 0.25
    Path(file).unlink()


def test_uncertainty_as_a_map(infer: RestorationInfer, scan: Path) -> None:
    file, params = infer({"image": str(scan), "result": "uncertainty", "result_extension": ".nii.gz"})
    array = np.asarray(nib.load(file).dataobj)
    assert array.shape == (24, 48, 2) and array.min() >= 0 and array.max() > 0 and params["result"] == "uncertainty"
    own, _ = infer({"image": str(scan), "result": "uncertainty"})
    assert own is not None and own.endswith(".nrrd"), "values are not whole counts, so the file is not DICOM"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0}, "fraction is the scan's share"),
        ({"fraction": 1.5}, "fraction is the scan's share"),
        ({"fraction": "half"}, "fraction is the scan's share"),
        ({"result": "prettier"}, "result must be"),
        ({"result_extension": ".exe"}, "result_extension must be one of"),
        ({"result": "uncertainty", "result_extension": ".dcm"}, "not whole counts"),
        ({"result_extension": ".png"}, "one view"),
    ],
)
def test_unsupported_options_are_refused(infer: RestorationInfer, scan: Path, options: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        infer({"image": str(scan), **options})


def test_info_and_release(infer: RestorationInfer, scan: Path, scans_starter: Path) -> None:
    info = infer.info()
    assert info["type"] == "others" and info["labels"] == {} and info["config"]["fraction"] == 0.5
    assert infer.get_path() == str(scans_starter) and not infer.release(0)
    assert infer({"image": str(scan), "result_write_to_file": False})[0] is None
    assert infer.release(0)
