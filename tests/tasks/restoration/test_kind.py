"""Tasks of kind "restoration": the label of a rapid scan is its standard scan."""

from pathlib import Path

import numpy as np
import pytest

from lib.data.cases import find_cases
from lib.data.findings import InputRejected
from lib.tasks.kinds import kind_of
from lib.tasks.spec import TaskSpec


def test_a_standard_scan_is_accepted_and_another_file_is_rejected(bones: TaskSpec, pairs: Path, tmp_path: Path) -> None:
    case = find_cases(pairs)[0]
    assert case.label is not None
    kind = kind_of(bones)
    counts = kind.check_submitted_label(case.label, case.image, bones)
    assert counts.sum() > 0 and kind.inspect_label(counts, case.image, bones) == []
    (tmp_path / "label.nii.gz").write_text("no scan")
    with pytest.raises(InputRejected):
        kind.check_submitted_label(tmp_path / "label.nii.gz", case.image, bones)


def test_a_scan_becomes_a_restored_file(scans_app: Path, bones: TaskSpec, scans_starter: Path, pairs: Path) -> None:
    image, output = find_cases(pairs)[0].image, scans_app / "restored.nii.gz"
    answer = kind_of(bones).infer_file(scans_app, bones.name, image, output, lambda *_: None)
    assert output.is_file() and answer["model"] == "starter" and np.sum(answer["expected"]) > 0
