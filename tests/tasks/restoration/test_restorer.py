"""The restorer preserves total counts, names its version, and rejects invalid scans."""

from pathlib import Path

import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.tasks.restoration.restorer import Restorer, restore_file
from lib.tasks.serving.weights import NoWeights
from lib.tasks.spec import SpecError
from tests.tasks.conftest import APP as CT_APP


def test_total_counts_are_preserved_and_the_version_is_named(scans_app: Path, scans_starter: Path, pairs: Path) -> None:
    done = Restorer.from_task(scans_app, "bones").restore(pairs / "skeleton_0000.nii.gz")
    recorded = done.scan.counts.sum((1, 2))
    np.testing.assert_allclose(done.expected.sum((1, 2)), recorded / 0.5, rtol=1e-5)
    assert done.version == "starter" and done.fraction == 0.5 and done.deviation is None and done.seconds["infer"] > 0
    quarter = Restorer.from_task(scans_app, "bones").restore(pairs / "skeleton_0000.nii.gz", 0.25)
    np.testing.assert_allclose(quarter.expected.sum((1, 2)), recorded / 0.25, rtol=1e-5)


def test_uncertainty_is_larger_where_counts_are_larger(scans_app: Path, scans_starter: Path, pairs: Path) -> None:
    restorer = Restorer.from_task(scans_app, "bones")
    done = restorer.restore(pairs / "skeleton_0001.nii.gz", deviation=True)
    assert done.deviation is not None and done.deviation.shape == done.expected.shape
    high, low = (done.expected >= np.quantile(done.expected, q) for q in (0.95, 0.5))
    assert done.deviation[high].mean() > done.deviation[~low].mean() > 0
    again = restorer.restore(pairs / "skeleton_0001.nii.gz", deviation=True)
    assert np.array_equal(again.deviation, done.deviation)


def test_a_file_is_restored_into_a_file(scans_app: Path, scans_starter: Path, pairs: Path, tmp_path: Path) -> None:
    facts = restore_file(scans_app, "bones", pairs / "skeleton_0000.nii.gz", tmp_path / "out.nrrd")
    assert Path(facts["output"]).is_file() and facts["model"] == "starter"
    assert facts["expected"] == pytest.approx([2 * counts for counts in facts["recorded"]], rel=1e-5)


def test_a_file_that_is_not_a_scan_is_rejected(scans_app: Path, scans_starter: Path, tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"nothing")
    with pytest.raises(InputRejected):
        Restorer.from_task(scans_app, "bones").restore(tmp_path / "scan.dcm")


def test_without_weights_no_scan_is_restored(scans_app: Path, pairs: Path) -> None:
    with pytest.raises(NoWeights, match="put a starter at"):
        Restorer.from_task(scans_app, "bones").restore(pairs / "skeleton_0000.nii.gz")


def test_a_segmentation_task_cannot_restore(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(CT_APP)
    with pytest.raises(SpecError, match="to restore a scan, name a task of kind"):
        Restorer.from_task(tmp_path, "tubes")
