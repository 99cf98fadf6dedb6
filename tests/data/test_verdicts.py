"""The input gate's verdict on every real file at hand equals a table that was written from the headers.

`verdicts.csv` has one row per file of pydicom's test data and of nifti-oddities: the modality of the task, and the size
of the accepted image or the code of the refusal, with the reason.
"""

import csv
from pathlib import Path

import data_store
import pydicom.data
import pytest

from lib.data.findings import InputRejected
from lib.data.validate import check
from tests.cases import real_data

FOLDERS = (Path(data_store.__file__).parent / "data", Path(pydicom.data.__file__).parent / "test_files")
with Path(__file__).with_name("verdicts.csv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table))


def find(name: str) -> Path:
    if name.startswith("nifti-oddities/"):
        return real_data("nifti-oddities") / name.removeprefix("nifti-oddities/")
    found = next((folder / name for folder in FOLDERS if (folder / name).is_file()), None)
    if found is None:
        pytest.skip(f"pydicom's test data here have no {name}")
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_verdict(row: dict[str, str]) -> None:
    path, accepted = find(row["file"]), row["verdict"][0].isdigit()
    try:
        volume = check(path, modality=row["modality"])
    except InputRejected as rejected:
        found = rejected.findings[0]
        assert not accepted and found.code == row["verdict"], f"{found.code}: {found.reason}"
        assert found.reason and found.remedy
    else:
        assert "x".join(map(str, (*volume.voxels.shape, 1)[:3])) == row["verdict"]
        assert not volume.others
