"""MR examinations in a real Orthanc: one series is the study, another its channel, and labels come back as SEG."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from archive import INSTALL, Archive, ct_series, installed, orthanc
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, generate_uid

pytestmark = [pytest.mark.server, pytest.mark.skipif(not installed(), reason=f"Orthanc is not here: {INSTALL}")]
SHAPE = (28, 24, 12)
APP = """
[app]
name = "mr"

[[task]]
name = "tubes"
kind = "segmentation"
model = "student_conv"
labels = ["tube"]
image = { modality = "MR", intensity = "zscore", spacing_mm = [1.5, 1.5, 1.5], roi = [32, 32], channels = [
  { name = "t1", description = "T1*" },
  { name = "t2", description = "*t2*" },
] }
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


def mr_series(folder: Path, seed: int, examination: str, description: str) -> list[Dataset]:
    """Return an MR series; series of one seed and several descriptions show one patient."""
    rng = np.random.default_rng([seed, len(description)])
    voxels = rng.integers(50, 900, SHAPE).astype(np.int16)
    file = folder / f"{seed}_{len(description)}.nii.gz"
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.5, -1.5, 2.0, 1.0])), file)
    instances = ct_series(file, f"P{seed}")
    for instance in instances:
        instance.Modality, instance.SOPClassUID = "MR", MRImageStorage
        instance.file_meta.MediaStorageSOPClassUID = MRImageStorage
        instance.StudyInstanceUID, instance.SeriesDescription = examination, description
        del instance.RescaleType
    return instances


def test_an_examination_of_an_archive_is_one_study_with_two_channels(
    archive: Archive, tmp_path: Path, launch: Callable[..., Any], command: Callable, new_app: Callable
) -> None:
    first, second = generate_uid(), generate_uid()
    t1, t2 = mr_series(tmp_path, 0, first, "T1 tse"), mr_series(tmp_path, 0, first, "ax T2 flair")
    alone = mr_series(tmp_path, 1, second, "T1 tse")
    for series in (t1, t2, alone):
        archive.store(series)
    app = new_app(tmp_path / "app", APP)
    url = launch(command, app, archive.dicomweb, tmp_path).url
    listed = set(requests.get(f"{url}/datastore/?output=all", timeout=60).json()["objects"])
    reference, lacking = str(t1[0].SeriesInstanceUID), str(alone[0].SeriesInstanceUID)
    offered = requests.post(f"{url}/activelearning/random", timeout=120).json()
    assert offered["id"] in (reference, lacking)
    assert str(t2[0].SeriesInstanceUID) not in listed
    answer = requests.post(
        f"{url}/infer/tubes?image={reference}&output=image",
        data={"params": '{"result_extension": ".nii.gz"}'},
        timeout=300,
    )
    assert answer.ok, answer.text
    (tmp_path / "answer.nii.gz").write_bytes(answer.content)
    assert nib.load(tmp_path / "answer.nii.gz").shape == SHAPE  # type: ignore[attr-defined]
    marks = np.zeros(SHAPE, np.uint8)
    marks[4:9, 5:9, 3:7] = 1
    affine = nib.load(tmp_path / "answer.nii.gz").affine  # type: ignore[attr-defined]
    nib.save(nib.Nifti1Image(marks, affine), tmp_path / "label.nii.gz")
    with (tmp_path / "label.nii.gz").open("rb") as file:
        saved = requests.put(
            f"{url}/datastore/label?image={reference}&tag=final", files={"label": ("label.nii.gz", file)}, timeout=120
        )
    assert saved.ok, saved.text
    query = {"Level": "Series", "Query": {"Modality": "SEG", "StudyInstanceUID": first}}
    assert len(requests.post(f"{archive.url}/tools/find", json=query, timeout=30).json()) == 1
    refused = requests.post(f"{url}/infer/tubes?image={lacking}&output=image", timeout=300)
    assert refused.status_code == 422 and refused.json()["code"] == "CHANNEL_MISSING", refused.text
    assert "no series described as '*t2*'" in refused.json()["reason"]
