"""A training from a folder uses checked copies of labels, and leaves out those that cannot be used."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.cases import find_cases
from lib.data.pipeline import load_label
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.split import HELD_OUT, FrozenSplit
from lib.tasks.spec import load_app
from lib.tasks.training.checked_cases import check_cases, held_out_cases
from tests.tasks.conftest import tiny_ct

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def test_cases_have_checked_copies_or_no_label(
    app_dir: Path, tmp_path: Path, write_ct: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    studies, final = tmp_path / "studies", tmp_path / "studies" / "labels" / "final"
    for seed in range(5):
        write_ct(seed, folder=studies, label_folder=final if seed else None)
    nib.save(nib.Nifti1Image(tiny_ct(2)[1].astype(np.float32) / 2, AFFINE), final / "ct_2.nii.gz")
    flipped = nib.Nifti1Image(tiny_ct(3)[1], AFFINE).as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    nib.save(flipped, final / "ct_3.nii.gz")
    nib.save(nib.Nifti1Image(tiny_ct(4)[1], AFFINE), final / "ct_4.nii")
    before = (final / "ct_3.nii.gz").read_bytes()
    labels = LabelVersions(app_dir, Ledger.of(app_dir))
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = {case.id: case for case in check_cases(load_app(app_dir), labels, find_cases(studies))}
        assert [name for name, case in found.items() if case.label] == ["ct_1", "ct_3"]
        assert "ct_2: its label is not used: LABEL_VALUES" in caplog.text and "SEVERAL_LABELS" in caplog.text
        for seed in (1, 3):
            label = found[f"ct_{seed}"].label
            assert label and label.is_relative_to(app_dir), "later changes of the folder change no training"
            assert np.array_equal(load_label(label, (36, 32, 20), AFFINE), tiny_ct(seed)[1])
    assert (final / "ct_3.nii.gz").read_bytes() == before, "a training changes no file of the folder"
    assert [row.subject for row in Ledger.of(app_dir).rows("label")] == ["ct_1", "ct_3"]


def test_held_out_cases_are_those_of_the_recorded_split(
    app_dir: Path, tmp_path: Path, write_ct: Callable[..., Path]
) -> None:
    studies, final = tmp_path / "studies", tmp_path / "studies" / "labels" / "final"
    for seed in range(7):
        write_ct(seed, folder=studies, label_folder=final if seed < 6 else None)
    with pytest.raises(ValueError, match="no patient is held out yet"):
        held_out_cases(app_dir, studies)
    split = FrozenSplit(Ledger.of(app_dir)).assign([case for case in find_cases(studies) if case.label])
    assert [case.id for case in held_out_cases(app_dir, studies)] == sorted(case.id for case in split[HELD_OUT])


def test_cases_cover_what_the_ledger_says(
    app_dir: Path, tmp_path: Path, write_ct: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    studies, final = tmp_path / "studies", tmp_path / "studies" / "labels" / "final"
    for seed in range(4):
        write_ct(seed, folder=studies, label_folder=final)
    for seed, names in ((1, ["tube"]), (2, ["Tube"]), (3, ["liver"])):
        (final / f"ct_{seed}.covered.json").write_text(json.dumps({"covered": names}))
    tube = np.where(tiny_ct(1)[1] == 1, 1, 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(tube, AFFINE), final / "ct_1.nii.gz")

    def covered() -> dict[str, tuple[str, ...] | None]:
        app = load_app(app_dir)
        labels = LabelVersions(app_dir, Ledger.of(app_dir), app.tasks[0].labels)
        return {case.id: case.covered for case in check_cases(app, labels, find_cases(studies)) if case.label}

    with caplog.at_level(logging.WARNING):
        assert covered() == {"ct_0": None, "ct_1": ("tube",)}
    assert "ct_2: its label is not used: COVERED The label covers tube only, and has voxels of cavity." in caplog.text
    assert "ct_3: its label is not used: COVERED The label covers 'liver'" in caplog.text
    (final / "ct_2.covered.json").unlink()
    assert covered() == {"ct_0": None, "ct_1": ("tube",), "ct_2": None}, "a corrected file is checked again"
    text = (app_dir / "app.toml").read_text()
    (app_dir / "app.toml").write_text(text.replace('"tube", "cavity"', '"tube", "cavity", "nodule"'))
    assert covered() == {"ct_0": ("tube", "cavity"), "ct_1": ("tube",), "ct_2": ("tube", "cavity")}
    (final / "ct_0.covered.json").write_text('{"covered": ["tube", "cavity", "nodule"]}')
    assert covered()["ct_0"] is None, "a label that was completed"
