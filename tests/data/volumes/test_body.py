"""Box around the body: with air and a table, at the border, in 2-D, and for cropped readings."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.pipeline import ImageSpec, read
from lib.data.volumes.body import body_box

SPEC = ImageSpec(spacing_mm=(2.0, 2.0, 3.0), window=(-1000, 400), roi=(32, 32))
AFFINE = np.array([[-1.5, 0, 0, 40], [0, -1.5, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1]])


def trunk(shape: tuple[int, ...] = (90, 80, 20)) -> np.ndarray:
    voxels = np.full(shape, -1000, np.int16)
    voxels[30:60, 25:50] = 40
    voxels[40:44, 30:34] = -900  # an airway
    voxels[10:80, 70:72] = 200  # a table
    return voxels


def test_box_holds_the_body_and_margin_but_not_the_table() -> None:
    x, y, z = body_box(trunk(), np.array([1.5, 1.5, 3.0]), 6.0) or pytest.fail("no body")
    for side, first, last in ((x, 30, 60), (y, 25, 50)):
        assert first - 4 - 3 <= side.start <= first - 4 and last + 4 <= side.stop <= last + 4 + 3
    assert z == slice(0, 20)


def test_box_ends_at_the_border_of_the_volume() -> None:
    voxels = np.full((40, 30, 8), 40, np.int16)
    assert body_box(voxels, np.ones(3), 10.0) == (slice(0, 40), slice(0, 30), slice(0, 8))


def test_air_has_no_box_and_a_slice_has_one() -> None:
    assert body_box(np.full((20, 20, 5), -1000, np.int16), np.ones(3), 5.0) is None
    box = body_box(trunk()[..., 0], np.array([1.5, 1.5, 1.0]), 6.0)
    assert box is not None and box[2] == slice(0, 1) and box[1].stop < 60


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(trunk(), AFFINE), path)  # type: ignore[attr-defined]
    return path


def test_cropped_reading_is_part_of_the_whole_reading(scan: Path) -> None:
    whole, part = read(scan, SPEC), read(scan, replace(SPEC, crop_margin_mm=6.0))
    assert np.prod(part.intensities.shape) < 0.4 * np.prod(whole.intensities.shape)
    shift = np.linalg.inv(whole.affine) @ part.affine
    first = np.rint(shift[:3, 3]).astype(int)
    np.testing.assert_allclose(shift[:3, 3], first, atol=1e-6)
    sides = tuple(slice(a, a + n) for a, n in zip(first, part.intensities.shape[1:], strict=True))
    torch.testing.assert_close(part.intensities[0], whole.intensities[(0, *sides)], atol=1e-3, rtol=0)


def test_restored_labels_cover_the_source_with_background_outside_the_box(scan: Path) -> None:
    whole, part = read(scan, SPEC), read(scan, replace(SPEC, crop_margin_mm=6.0))
    answers = []
    for reading in (whole, part):
        image = reading.intensities[0]
        # Class 1 is tissue and class 2 is air.
        logits = torch.stack([torch.full_like(image, -500.0), image, -image - 1400])
        answers.append(reading.restore([(0, logits)]))
    assert answers[0].shape == answers[1].shape == (90, 80, 20)
    assert answers[0][0, 0, 0] == 2 and answers[1][0, 0, 0] == 0 and (answers[1][:, 70:72] == 0).all()
    inside = (slice(28, 62), slice(23, 52))
    assert np.array_equal(answers[0][inside], answers[1][inside])


def test_label_is_cropped_with_its_image_and_air_is_not_cropped(scan: Path, tmp_path: Path) -> None:
    label = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image((trunk() == -900).astype(np.uint8), AFFINE), label)  # type: ignore[attr-defined]
    part = read(scan, replace(SPEC, crop_margin_mm=6.0), label)
    assert part.label is not None and part.label.shape == part.intensities.shape[1:] and part.label.sum() > 0
    nib.save(nib.Nifti1Image(np.full((90, 80, 20), -1000, np.int16), AFFINE), scan)  # type: ignore[attr-defined]
    assert read(scan, replace(SPEC, crop_margin_mm=6.0)).grid.shape == read(scan, SPEC).grid.shape
