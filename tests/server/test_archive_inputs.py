"""Every handed series in a real Orthanc: right to the voxel on its slices, or refused with code, reason and remedy."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
import SimpleITK as sitk
from archive import INSTALL, Archive, installed, orthanc

from lib.tasks.segmentation.segmenter import Segmenter
from tests.cases import real_data, write_cases

pytestmark = [pytest.mark.server, pytest.mark.skipif(not installed(), reason=f"Orthanc is not here: {INSTALL}")]
SERIES = {
    "plain": "",
    "tilt": "",
    "gap": "MISSING_SLICES",
    "dup": "DOUBLED_SLICES",
    "localizer": "",
    "raw_padding": "HU_IMPLAUSIBLE",
    "phases": "MANY_PHASES",
    "one_no_spacing": "BAD_AFFINE",
}
"""Outcome of each series: empty if it is right, else the code. Incomplete copies cannot be sent to an archive."""
ENHANCED = {"up": "", "down": "", "random": "", "gap": "MISSING_SLICES", "tilt": "", "stacks": ""}
SEGMENTATIONS = {"LABELMAP": True, "BINARY": True, "OTHER_ORGAN": False}
"""Whether the SEG labels its study."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


def send(archive: Archive, files: list[Path]) -> str:
    """Send files to the archive and return the series of the first."""
    instances = [pydicom.dcmread(file) for file in files]
    archive.store(instances)
    return str(instances[0].SeriesInstanceUID)


def downloaded(url: str, series: str, folder: Path) -> np.ndarray:
    """Return the voxels ``(X, Y, Z)`` of the image that the server sends to a viewer."""
    answer = requests.get(f"{url}/datastore/image?image={series}", timeout=300)
    assert answer.ok, answer.text
    suffix = ".nrrd" if answer.content.startswith(b"NRRD") else ".nii.gz"
    (folder / f"image{suffix}").write_bytes(answer.content)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"image{suffix}"))).T


def segmented(url: str, series: str, folder: Path) -> requests.Response:
    params = {"params": '{"result_extension": ".nrrd"}'}
    answer = requests.post(f"{url}/infer/tubes?image={series}&output=image", data=params, timeout=300)
    if answer.ok:
        (folder / "label.nrrd").write_bytes(answer.content)
    return answer


def opened(url: str, folder: Path) -> requests.Response:
    """Return the answer to a session with the slices of a folder."""
    files = [("files", (file.name, file.read_bytes())) for file in sorted(folder.glob("*.dcm"))]
    return requests.put(f"{url}/session/", files=files, timeout=120)


def test_series_of_an_archive(
    archive: Archive, tmp_path: Path, launch: Callable[..., Any], command: Callable, new_app: Callable
) -> None:
    series, truths, expected = {}, {}, {}
    for kind, code in SERIES.items():
        folder = write_cases("ct_series_faults", tmp_path / "series" / kind, kind)
        series[kind], expected[kind] = send(archive, sorted(folder.glob("*.dcm"))), code
        truths[kind] = np.load(tmp_path / "series" / f"{kind}_truth.npy")
    for kind, code in ENHANCED.items():
        file = write_cases("enhanced_ct", tmp_path / "enhanced", kind) / f"enhanced_{kind}.dcm"
        series[f"enhanced {kind}"], expected[f"enhanced {kind}"] = send(archive, [file]), code
        truths[f"enhanced {kind}"] = np.load(f"{file}_truth.npy")
    for kind in SEGMENTATIONS:
        folder = write_cases("labelmap_seg", tmp_path / "seg" / kind, kind)
        series[kind], expected[kind] = send(archive, sorted(folder.glob("0*.dcm"))), ""
        send(archive, [folder / "seg.dcm"])
    app = new_app(tmp_path / "app")
    (app / "app.toml").write_text((app / "app.toml").read_text().replace('"cavity"', '"trachea"'))
    url = launch(command, app, archive.dicomweb, tmp_path).url

    status = requests.get(f"{url}/datastore/", timeout=60).json()
    assert status["completed"] == sum(SEGMENTATIONS.values()), "the SEG of another organ leaves its study open"
    for kind, uid in series.items():
        answer = segmented(url, uid, tmp_path)
        if expected[kind]:
            finding = answer.json()
            assert answer.status_code == 422 and finding["code"] == expected[kind], (kind, finding)
            assert finding["reason"] and finding["remedy"], (kind, finding)
        else:
            assert answer.ok, (kind, answer.text)
            if kind in truths:
                np.testing.assert_array_equal(downloaded(url, uid, tmp_path), truths[kind], err_msg=kind)
    for kind, code in SERIES.items():
        answer = opened(url, tmp_path / "series" / kind)
        assert answer.status_code == (422 if code else 200) and answer.json().get("code", "") == code, answer.text
    for kind, counts in SEGMENTATIONS.items():
        answer = requests.get(f"{url}/datastore/label?label={series[kind]}&tag=final", timeout=60)
        assert answer.ok == counts, (kind, answer.text[:500])
        if counts:
            (tmp_path / "label.nii.gz").write_bytes(answer.content)
            found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "label.nii.gz"))).T
            truth = np.load(tmp_path / "seg" / f"{kind}_truth.npy")
            np.testing.assert_array_equal(found, truth * 2, err_msg=kind)


def test_a_tilted_head_ct_of_an_archive(
    archive: Archive, tmp_path: Path, launch: Callable[..., Any], command: Callable, new_app: Callable
) -> None:
    """The proposal lies on the slices as by folder; a marked point comes to the archive in the frame of its slice."""
    folder = real_data("gantry-tilt")
    files = sorted(folder.iterdir())
    uid = send(archive, files)
    app = new_app(tmp_path / "app")
    url = launch(command, app, archive.dicomweb, tmp_path).url
    assert segmented(url, uid, tmp_path).ok
    proposal = sitk.ReadImage(str(tmp_path / "label.nrrd"))
    by_folder = Segmenter.from_task(app, "tubes", device="cpu").segment(folder)
    assert any("tilted by 18.5 degrees" in note for note in by_folder.notes)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(proposal).T, by_folder.label)

    marks = np.zeros(by_folder.label.shape, np.uint8)
    marks[100, 400, 9] = 1
    point = sitk.GetImageFromArray(np.ascontiguousarray(marks.T))
    point.CopyInformation(proposal)
    sitk.WriteImage(point, str(tmp_path / "point.nrrd"))
    with (tmp_path / "point.nrrd").open("rb") as file:
        data = {"params": json.dumps({"label_info": [{"name": "tube", "idx": 1}]})}
        address = f"{url}/datastore/label?image={uid}&tag=final"
        saved = requests.put(address, data=data, files={"label": ("point.nrrd", file)}, timeout=120)
    assert saved.ok, saved.text
    query = {"Level": "Instance", "Query": {"Modality": "SEG", "PatientID": str(pydicom.dcmread(files[0]).PatientID)}}
    (found,) = requests.post(f"{archive.url}/tools/find", json=query, timeout=30).json()
    content = requests.get(f"{archive.url}/instances/{found}/file", timeout=30).content
    seg = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
    (frame,) = seg.PerFrameFunctionalGroupsSequence
    source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    (slice_file,) = [one for file in files if (one := pydicom.dcmread(file)).SOPInstanceUID == source]
    assert slice_file.InstanceNumber == 10 and np.argwhere(seg.pixel_array).tolist()[-1][-2:] == [400, 100]
