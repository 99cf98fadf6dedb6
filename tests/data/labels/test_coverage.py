"""What a label covers: the file beside it, names in any spelling, and refusals with code, reason and remedy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.data.labels.coverage import (
    check_covered,
    covered_file,
    covers,
    parse_covered,
    read_covered,
    write_covered,
)

VALUES = {"pharynx": 1, "larynx": 2, "nasal_cavity": 3}


def test_the_file_beside_a_label_is_read_written_and_removed(tmp_path: Path) -> None:
    label = tmp_path / "scan.v2.nii.gz"
    assert read_covered(label) is None
    write_covered(label, ("larynx",))
    file = covered_file(label)
    assert file.name == "scan.v2.covered.json" and json.loads(file.read_text()) == {"covered": ["larynx"]}
    assert read_covered(label) == ("larynx",)
    for _ in range(2):
        write_covered(label, None)
    assert not file.exists()


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"covered": []}', '{"covered": "larynx"}', '{"covered": [2]}', "[" * 9]
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    covered_file(tmp_path / "a.nrrd").write_text(text)
    with pytest.raises(InputRejected) as caught:
        read_covered(tmp_path / "a.nrrd")
    (finding,) = caught.value.findings
    assert finding.code == "COVERED" and finding.reason and "covered" in finding.remedy


@pytest.mark.parametrize(
    ("sent", "covered"),
    [
        (None, None),
        (["larynx"], ("larynx",)),
        (["Nasal Cavity", "pharynx"], ("pharynx", "nasal_cavity")),
        (["nasal_cavity", "larynx", "pharynx"], tuple(VALUES)),
    ],
)
def test_names_are_those_of_the_app_in_its_order(sent: Any, covered: tuple[str, ...] | None) -> None:
    assert parse_covered(sent, VALUES) == covered


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (["liver"], "'liver', which is no label"),
        (["ignore"], "'ignore'"),
        ([], "no list of names"),
        ("larynx", "no list"),
    ],
)
def test_other_names_are_refused(sent: Any, reason: str) -> None:
    with pytest.raises(InputRejected, match=f"COVERED: .*{reason}"):
        parse_covered(sent, VALUES)


def test_voxels_of_a_label_that_is_not_covered_are_refused() -> None:
    voxels = np.array([[0, 1], [2, 255]], np.uint8)
    check_covered(voxels, None, VALUES)
    check_covered(voxels, ("pharynx", "larynx"), VALUES)
    with pytest.raises(InputRejected, match=r"covers pharynx only, and has voxels of larynx\. Add larynx"):
        check_covered(voxels, ("pharynx",), VALUES)


def test_the_labels_of_another_task_are_found_by_name() -> None:
    assert covers(("larynx",), ("larynx", "trachea")) == (True, False) and covers(None, ("x",)) == (True,)
