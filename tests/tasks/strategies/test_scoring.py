"""Dice per class; MONAI Label's own method would give 2.0 for a perfect class 2."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monailabel.datastore.local import LocalDatastore

from lib.tasks.strategies.scoring import DicePerClass

LABELS = {"tube": 1, "cavity": 2}


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    for folder in ("", "labels/final", "labels/original"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    return tmp_path


def put(studies: Path, name: str, folder: str, voxels: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(voxels.astype(np.uint8), np.eye(4)), studies / folder / f"{name}.nii.gz")


def score(studies: Path) -> tuple[dict, LocalDatastore]:
    store = LocalDatastore(str(studies))
    return DicePerClass(LABELS)({"method": "dice"}, store), store


def test_dice_per_class(studies: Path) -> None:
    final, predicted = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    final[0], final[1] = 1, 2
    predicted[0, :2], predicted[1] = 1, 2
    for folder, voxels in (("", final), ("labels/final", final), ("labels/original", predicted)):
        put(studies, "a", folder, voxels)
    result, store = score(studies)
    assert result["a"] == pytest.approx({"tube": 2 * 8 / 24, "cavity": 1.0, "mean": (2 / 3 + 1) / 2})
    assert store.get_image_info("a")["dice"] == result["a"]


def test_ignored_voxels_and_absent_classes_do_not_count(studies: Path) -> None:
    final, predicted = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    final[0], final[1] = 1, 255
    predicted[:2] = 1
    for folder, voxels in (("", final), ("labels/final", final), ("labels/original", predicted)):
        put(studies, "a", folder, voxels)
    assert score(studies)[0]["a"] == {"tube": 1.0, "cavity": None, "mean": 1.0}


def test_a_study_with_mismatched_labels_does_not_stop_the_others(studies: Path) -> None:
    for name, shape in (("good", (4, 4, 4)), ("odd", (3, 4, 4))):
        put(studies, name, "", np.ones((4, 4, 4)))
        put(studies, name, "labels/final", np.ones((4, 4, 4)))
        put(studies, name, "labels/original", np.ones(shape))
    put(studies, "bare", "", np.ones((4, 4, 4)))
    result, _ = score(studies)
    assert result["good"]["tube"] == 1.0 and "error" in result["odd"] and "bare" not in result


def test_classes_that_the_final_label_does_not_cover_are_not_scored(studies: Path) -> None:
    final, predicted = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    final[0], predicted[0], predicted[1] = 1, 1, 2
    for folder, voxels in (("", final), ("labels/final", final), ("labels/original", predicted)):
        put(studies, "a", folder, voxels)
    (studies / "labels" / "final" / "a.covered.json").write_text('{"covered": ["tube"]}')
    assert score(studies)[0]["a"] == {"tube": 1.0, "cavity": None, "mean": 1.0}
