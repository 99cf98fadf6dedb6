"""A folder with all kinds of entries behind a real server: studies are served, all other entries are named."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from lib.data.formats import load
from lib.records.ledger import Ledger
from tests.data.conftest import write_slice

pytestmark = pytest.mark.server


def write_series(voxels: np.ndarray, folder: Path) -> Path:
    """Write a CT ``(X, Y, Z)`` with a spacing of 2 mm as the folder of one DICOM series."""
    folder.mkdir(parents=True)
    for k in range(voxels.shape[2]):
        position = {"ImagePositionPatient": [0, 0, 2 * k], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        write_slice(folder / f"{k:03d}.dcm", voxels[:, :, k], **position, PixelSpacing=[2, 2], InstanceNumber=k + 1)
    return folder


@pytest.fixture(scope="module")
def mixed(
    launch: Callable, command: Callable, new_app: Callable, new_studies: Callable, make_ct: Callable,
    write_nifti: Callable, tmp_path_factory: pytest.TempPathFactory,
) -> Any:  # fmt: skip
    """A server of a folder with a series, hidden files, capitals, a name twice and a nested folder."""
    where = tmp_path_factory.mktemp("mixed")
    studies = new_studies(where / "studies", 1)
    write_series(make_ct(5)[0], studies / "series")
    write_nifti(make_ct(1)[0], studies / "low.nii.gz").rename(studies / "CAPITALS.NII.GZ")
    for name in ("._ct_0.nii.gz", ".half.nii.gz", ".DS_Store", "__MACOSX/._ct_0.nii.gz"):
        (studies / name).parent.mkdir(exist_ok=True)
        (studies / name).write_bytes(b"no image")
    write_nifti(make_ct(2)[0], studies / "nested" / "ct_9.nii.gz")
    (studies / "ct_0.nrrd").write_bytes(b"another")
    return launch(command, new_app(where / "an app"), studies, where)


def studies_of(server: Any) -> set[str]:
    return set(requests.get(f"{server.url}/datastore/?output=all", timeout=10).json()["objects"])


def test_studies_are_listed_and_other_entries_are_named(mixed: Any, wait: Callable) -> None:
    wait(lambda: "series" in studies_of(mixed), 20, "the new folder to be complete")
    assert studies_of(mixed) == {"ct_0", "CAPITALS", "series"}
    page = requests.get(f"{mixed.url}/admin/machine", timeout=30).text
    log = mixed.log.read_text()
    for name in ("ct_0.nrrd", "nested"):
        assert name in page and f"'{name}' is no study: " in log
    assert "MACOSX" not in page + log and "half" not in page


@pytest.mark.parametrize("image", ["series", "CAPITALS"])
def test_a_study_is_downloaded_segmented_and_labelled(mixed: Any, wait: Callable, tmp_path: Path, image: str) -> None:
    wait(lambda: image in studies_of(mixed), 20, "the study to be listed")
    answer = requests.get(f"{mixed.url}/datastore/image?image={image}", timeout=30)
    answer.raise_for_status()
    assert f"{image}.nii.gz" in answer.headers["content-disposition"] or image == "CAPITALS"
    assert requests.head(f"{mixed.url}/datastore/image?image={image}", timeout=30).ok
    (tmp_path / "image.nii.gz").write_bytes(answer.content)
    downloaded = load(tmp_path / "image.nii.gz")
    stored = load(mixed.studies / ("series" if image == "series" else "CAPITALS.NII.GZ"))
    assert np.array_equal(downloaded.voxels, stored.voxels) and np.allclose(downloaded.affine, stored.affine)
    params = {"params": json.dumps({"result_extension": ".nii.gz"})}
    result = requests.post(f"{mixed.url}/infer/tubes?image={image}&output=image", data=params, timeout=60)
    assert result.ok, result.text
    files = {"label": (f"{image}.nii.gz", result.content)}
    saved = requests.put(f"{mixed.url}/datastore/label?image={image}&tag=final", files=files, timeout=60)
    assert saved.ok, saved.text
    assert Ledger.of(mixed.app).rows("label", image)[-1].body["image"]
    archive = requests.get(f"{mixed.url}/datastore/dataset", timeout=30)
    with zipfile.ZipFile(BytesIO(archive.content)) as found:
        names = [name for name in found.namelist() if name.startswith("image/")]
    assert any(name.removeprefix("image/").lower() == f"{image}.nii.gz".lower() for name in names)
    requests.delete(f"{mixed.url}/datastore/label?id={image}&tag=final", timeout=10).raise_for_status()


def test_the_next_study_of_a_series_has_a_file_name_and_no_path(mixed: Any, wait: Callable) -> None:
    wait(lambda: "series" in studies_of(mixed), 20, "the new folder to be complete")
    found = {}
    for annotator in ("a", "b", "c"):
        params = {"client_id": annotator}
        answer = requests.post(f"{mixed.url}/activelearning/random", json=params, timeout=30).json()
        found[answer["id"]] = answer
    assert (found["series"]["name"], found["series"]["path"]) == ("series.nii.gz", "")
    assert Path(found["ct_0"]["path"]).is_file()


def test_a_series_that_is_copied_now_is_listed_when_it_is_complete(
    mixed: Any, make_ct: Callable, wait: Callable
) -> None:
    write_series(make_ct(6)[0], mixed.studies / "copied")
    wait(lambda: "copied" in studies_of(mixed), 30, "the copied folder to be listed")
    requests.delete(f"{mixed.url}/datastore/?id=copied", timeout=10)
