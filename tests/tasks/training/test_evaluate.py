"""Evaluation of a task: one study under perturbations, and a folder of cases."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.cases import Case
from lib.data.formats.volume import Header, Volume
from lib.data.volumes.save import write_series
from lib.evaluation.stress import STRESSES
from lib.tasks.training.evaluate import evaluate_cases, evaluate_study, load

AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
LABELS = {"upper": 1, "lower": 2}


def head(tmp_path: Path) -> tuple[Path, Path]:
    """Write a block of tissue with a tube of air through it, labelled in two parts."""
    hu = np.full((48, 48, 24), -1000, np.int16)
    hu[6:42, 6:42] = 40
    hu[20:28, 20:28, 2:22] = -1000
    label = np.zeros(hu.shape, np.uint8)
    label[20:28, 20:28, 12:22], label[20:28, 20:28, 2:12] = 1, 2
    paths = tmp_path / "head.nii.gz", tmp_path / "label.nii.gz"
    for path, array in zip(paths, (hu, label), strict=True):
        nib.save(nib.Nifti1Image(array, AFFINE), path)
    return paths


def threshold(path: Path) -> np.ndarray:
    """Segment the air in the middle of the field, in place of a network."""
    found = np.asarray(nib.load(path).dataobj) < -400
    middle = np.zeros_like(found)
    middle[15:33, 15:33] = True
    return (found & middle).astype(np.uint8)


def test_a_study_is_evaluated_unchanged_and_under_each_stress(tmp_path: Path) -> None:
    lines: list[str] = []
    answer = evaluate_study(threshold, *head(tmp_path), LABELS, out=tmp_path / "out", progress=lines.append)
    assert list(answer["conditions"]) == ["clean", *STRESSES] and len(lines) == len(STRESSES) + 1
    clean = answer["conditions"]["clean"]["methods"]
    assert clean["model"]["raw"]["dice"] == 1.0 and clean["model"]["raw"]["betti"] == [1, 0, 0]
    assert clean["model"]["raw"]["outside_ml"] == 0
    assert {"nsd", "hd95_mm", "cl_dice"} <= clean["model"]["raw"].keys()
    assert clean["fill_rule"]["largest"]["dice"] > 0.9
    noisy = answer["conditions"]["noise_sd_250"]["methods"]
    assert noisy["fill_rule"]["raw"]["dice"] < 0.9
    assert answer["parts_ml"]["upper"] == pytest.approx(8 * 8 * 20 * 1.5e-3)
    assert Path(answer["overlay"]).stat().st_size > 1000
    json.dumps(answer, allow_nan=False)


def test_cases_are_evaluated_per_class_with_intervals(tmp_path: Path) -> None:
    image, label = head(tmp_path)
    cases = [Case(name, image, label, name) for name in ("a", "b")] + [Case("c", image, None, "c")]
    answer = evaluate_cases(lambda path: np.asarray(nib.load(label).dataobj), cases, LABELS, baseline="air",
                            out=tmp_path, progress=lambda line: None)  # fmt: skip
    assert list(answer["cases"]) == ["a", "b"]
    assert answer["summary"]["classes"]["lower"]["dice"]["mean"] == 1.0
    assert answer["threshold_rule"]["classes"]["all labels"]["dice"]["mean"] > 0.5
    tables = Path(answer["table"]).read_text()
    assert "| lower | 1.000 | 1.000 | 0.00 |" in tables and "| threshold rule |" in tables
    json.dumps(answer, allow_nan=False)


def test_cases_without_labels_or_on_another_grid_are_refused(tmp_path: Path) -> None:
    image, label = head(tmp_path)
    with pytest.raises(ValueError, match="no case has a label"):
        evaluate_cases(threshold, [Case("c", image, None, "c")], LABELS, out=tmp_path, progress=lambda line: None)
    moved = nib.Nifti1Image(np.asarray(nib.load(label).dataobj), np.diag([2.0, 1.0, 1.5, 1.0]))
    nib.save(moved, label)
    with pytest.raises(ValueError, match="not on the grid"):
        load(image, label)


def test_a_reference_with_fractions_is_refused(tmp_path: Path) -> None:
    image, label = head(tmp_path)
    nib.save(nib.Nifti1Image(np.asarray(nib.load(label).dataobj, np.float32) / 2, AFFINE), label)
    with pytest.raises(ValueError, match=r"LABEL_VALUES.* 0.5 at voxel"):
        load(image, label)


def test_an_mr_has_no_threshold_rule_and_no_outside_of_the_body(tmp_path: Path) -> None:
    image, label = head(tmp_path)
    answer = evaluate_cases(
        lambda path: np.asarray(nib.load(label).dataobj),
        [Case("a", image, label, "a")],
        LABELS,
        modality="MR",
        out=tmp_path,
        progress=lambda line: None,
    )
    assert "threshold_rule" not in answer and "outside_ml" not in answer["cases"]["a"]
    assert answer["summary"]["classes"]["upper"]["dice"]["mean"] == 1.0 and (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 2, 0)])
def test_an_image_in_another_order_of_axes_has_the_same_scores(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    """The label lies on the grid of the file, whatever its axes."""
    paths, flipped = head(tmp_path), []
    for path in paths:
        voxels = np.asarray(nib.load(path).dataobj).transpose(axes)[::-1]
        affine = np.zeros((4, 4))
        for axis, source in enumerate(axes):
            affine[source, axis] = AFFINE[source, source]
        affine[:, 3] = affine[:, 0] * (voxels.shape[0] - 1)
        affine[:, 0], affine[3, 3] = -affine[:, 0], 1
        flipped.append(tmp_path / f"turned_{path.name}")
        nib.save(nib.Nifti1Image(np.ascontiguousarray(voxels), affine), flipped[-1])
    for pair in (paths, tuple(flipped)):
        stored = np.asarray(nib.load(pair[1]).dataobj)
        case = Case("a", *pair, "a")
        answer = evaluate_cases(lambda _, s=stored: s, [case], LABELS, out=tmp_path, progress=lambda line: None)
        assert answer["cases"]["a"]["classes"]["upper"]["dice"] == 1.0
    assert np.array_equal(load(*paths).image, load(*flipped).image)


def test_volumes_of_an_unevenly_spaced_series_are_those_of_its_slices(tmp_path: Path) -> None:
    """Ten slices 2 mm apart and ten 6 mm apart: on their mean spacing the tube would be half as long again."""
    depths = np.cumsum([0.0, *[2] * 10, *[6] * 9])
    hu, label = np.full((40, 40, 20), -1000, np.int16), np.zeros((40, 40, 20), np.uint8)
    hu[5:35, 5:35] = 40
    hu[15:23, 15:23, 1:9], label[15:23, 15:23, 1:9] = -1000, 1
    affine = np.diag([1.0, 1.0, depths[-1] / 19, 1.0])
    origins = np.column_stack([np.zeros((20, 2)), depths])
    header = Header(tmp_path, "dicom", hu.shape, 1, 2, affine, "CT", origins=origins)
    image = write_series(Volume(hu, affine, header), tmp_path, "uneven")
    nib.save(nib.Nifti1Image(label, affine), tmp_path / "label.nii.gz")
    study = load(image, tmp_path / "label.nii.gz")
    assert study.spacing_mm == pytest.approx((1, 1, 2)) and study.image.shape[2] == 38
    answer = evaluate_cases(lambda path: label, [Case("uneven", image, tmp_path / "label.nii.gz", "p")], {"tube": 1},
                            out=tmp_path, progress=lambda line: None)  # fmt: skip
    scores = answer["cases"]["uneven"]["classes"]["tube"]
    assert scores["dice"] == 1 and scores["volume_ml"] == pytest.approx(8 * 8 * 8 * 2e-3)


def test_a_class_counts_in_the_cases_whose_label_covers_it(tmp_path: Path) -> None:
    image, label = head(tmp_path)
    case = Case("a", image, label, "a")
    voxels = np.asarray(nib.load(label).dataobj)
    nib.save(nib.Nifti1Image(np.where(voxels == 1, 1, 0).astype(np.uint8), AFFINE), tmp_path / "p.nii")
    cases = [case, Case("b", image, tmp_path / "p.nii", "b", ("upper",))]
    answer = evaluate_cases(threshold, cases, LABELS, baseline="air", out=tmp_path / "out", progress=lambda _: None)
    counts = {name: scores["dice"]["count"] for name, scores in answer["summary"]["classes"].items()}
    assert counts == {"upper": 2, "lower": 1, "all labels": 1} and answer["threshold_rule"]["count"] == 1
    with pytest.raises(ValueError, match="COVERED: The label covers upper only, and has voxels of lower"):
        evaluate_cases(
            threshold, [Case("a", image, label, "a", ("upper",))], LABELS, out=tmp_path, progress=lambda _: None
        )
