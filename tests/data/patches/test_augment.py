"""Augmentation moves image and label together, in units of the usual range, and depends only on its generator."""

import numpy as np
import pytest
import torch

from lib.data.intensity import Scale
from lib.data.patches import augment
from lib.data.patches.augment import (
    IGNORE,
    Augmentation,
    blur,
    calibrate,
    change_intensities,
    cut_patch,
    draw_matrix,
    draw_matrix_3d,
)
from lib.ops.mirror import Mirroring

HOW = Augmentation(mirroring=Mirroring())


def stack(slices: int = 5, size: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Return air of -1000 with a bright box that is labelled 3."""
    image = torch.full((slices, size, size), -1000, dtype=torch.int16)
    label = torch.zeros((1, size, size), dtype=torch.uint8)
    image[:, 14:30, 20:34], label[:, 14:30, 20:34] = 400, 3
    return image, label


def test_patch_with_the_identity_matrix_is_a_crop() -> None:
    image = torch.randint(-1000, 1000, (3, 20, 24), dtype=torch.int16)
    label = torch.randint(0, 6, (1, 20, 24), dtype=torch.uint8)
    patch, marks = cut_patch(image, label, np.array([9.5, 11.5]), (8, 10), np.eye(2))
    torch.testing.assert_close(patch, image[:, 6:14, 7:17].float(), atol=0.05, rtol=0)
    assert torch.equal(marks, label[:, 6:14, 7:17])


def test_border_is_repeated_outside_and_its_label_is_ignored() -> None:
    image = torch.full((2, 6, 6), 77, dtype=torch.int16)
    label = torch.ones((1, 6, 6), dtype=torch.uint8)
    patch, marks = cut_patch(image, label, np.array([2.5, 2.5]), (10, 10), np.eye(2))
    assert torch.allclose(patch, torch.tensor(77.0), atol=1e-3)
    assert (marks[0, 2:8, 2:8] == 1).all() and (marks == IGNORE).sum() == 100 - 36


@pytest.mark.parametrize("centre", [(-300.0, 10.0), (900.0, 900.0)])
def test_patch_completely_outside_has_its_shape(centre: tuple[float, float]) -> None:
    patch, marks = cut_patch(*stack(), np.array(centre), (16, 12), np.eye(2))
    assert patch.shape == (5, 16, 12) and torch.isfinite(patch).all() and (marks == IGNORE).all()


@pytest.mark.parametrize("seed", range(12))
def test_label_moves_with_the_image(seed: int) -> None:
    image, label = stack()
    patch, marks = cut_patch(
        image, label, np.array([22.0, 27.0]), (40, 40), draw_matrix(np.random.default_rng(seed), HOW)
    )
    known = marks[0] != IGNORE
    agree = ((patch[2] > -300) == (marks[0] == 3))[known]
    assert agree.float().mean() > 0.97  # except at interpolated boundaries
    assert set(marks.unique().tolist()) <= {0, 3, IGNORE}


def test_matrix_is_in_its_ranges_and_flips_half_the_time() -> None:
    matrices = [draw_matrix(np.random.default_rng(seed), HOW) for seed in range(400)]
    scales = np.sqrt([abs(np.linalg.det(m)) for m in matrices])
    assert 1 / 1.4 / 1.09 < scales.min() < 0.8 and 1.3 < scales.max() < 1.09 / 0.7
    assert 0.4 < np.mean([np.linalg.det(m) < 0 for m in matrices]) < 0.6


def test_without_mirroring_only_the_flip_is_left_out() -> None:
    for seed in range(40):
        mirrored, plain = (draw_matrix(np.random.default_rng(seed), how) for how in (HOW, Augmentation()))
        assert np.linalg.det(plain) > 0 and np.allclose(np.abs(mirrored), np.abs(plain))
        assert np.allclose(mirrored[:, 1], plain[:, 1]), "the second axis is never mirrored"


@pytest.mark.parametrize("step", augment.RESOLUTION_CHANGES)
def test_resolution_changes_keep_shape_and_mean(step: object) -> None:
    image = torch.randn(7, 2, 40, 36) * 0.1 + 0.05
    for seed in range(10):
        changed = step(image, np.random.default_rng(seed))  # type: ignore[operator]
        assert changed.shape == image.shape and torch.isfinite(changed).all()
        assert abs(float(changed.mean()) - float(image.mean())) < 0.015


def test_blur_spreads_a_point_as_a_gaussian() -> None:
    point = torch.zeros(1, 21, 21)
    point[0, 10, 10] = 1
    spread = blur(point, 1.5)[0]
    x = torch.arange(21.0) - 10
    torch.testing.assert_close(spread.sum(), torch.tensor(1.0))
    assert float((spread.sum(1) * x**2).sum()) == pytest.approx(1.5**2, rel=0.08)


def test_noise_levels_are_often_low_and_sometimes_high() -> None:
    still = torch.zeros(1, 1, 32, 32)
    levels = [float(augment.add_noise(still, np.random.default_rng(s), 0.3).std()) for s in range(300)]
    assert np.median(levels) < 0.06 and max(levels) > 0.23 and max(levels) < 0.33


def test_calibration_covers_shift_and_scale() -> None:
    image = torch.tensor([[[[0.0, 0.5, 1.0]]]])
    always = Augmentation(prob=0.5)
    changed = torch.stack([calibrate(image, np.random.default_rng(s), always)[0, 0, 0] for s in range(300)])
    assert changed[:, 1].min() < 0.4 and changed[:, 1].max() > 0.6
    assert (changed.diff(dim=1) > 0).all()  # the order of intensities is kept


def test_label_of_cut_out_boxes_is_ignored() -> None:
    image, label = torch.zeros(3, 2, 40, 40), torch.ones(1, 40, 40, dtype=torch.uint8)
    changed, marks = augment.cut_out(image, label, np.random.default_rng(0))
    assert torch.equal((marks[0] == IGNORE), (changed != 0).all(0).all(0))
    assert (label == 1).all() and (image == 0).all()  # the inputs are not changed


def test_thick_slices_keep_the_labelled_slice_in_place() -> None:
    image = torch.arange(7.0)[:, None, None, None].expand(7, 2, 4, 4)
    for seed in range(20):
        assert augment.thicken_slices(image, np.random.default_rng(seed))[3, 1, 0, 0] == pytest.approx(3)
    assert torch.equal(augment.thicken_slices(image[:1], np.random.default_rng(0)), image[:1]), (
        "one slice has no neighbours"
    )


def test_same_generator_gives_the_same_change() -> None:
    image, label = torch.randn(3, 1, 32, 32), torch.zeros(1, 32, 32, dtype=torch.uint8)
    first, second, other = (change_intensities(image, label, np.random.default_rng(s), HOW)[0] for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_a_change_does_not_depend_on_the_unit_of_the_intensities() -> None:
    """E.g. an 8-bit image and a CT of the same structure get the same patch."""
    stored, label = torch.rand(3, 1, 32, 32), torch.zeros(1, 32, 32, dtype=torch.uint8)
    patches = []
    for scale in (Scale(0, 255), Scale(-1000, 400), Scale(0, 1)):
        image = scale.usual(scale.low + (scale.high - scale.low) * stored)
        patches.append(change_intensities(image, label, np.random.default_rng(4), HOW)[0])
    torch.testing.assert_close(patches[1], patches[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(patches[2], patches[0], atol=1e-5, rtol=0)


def test_patches_of_8_bit_images_stay_recognisable() -> None:
    x, y = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = (0.5 + 0.4 * torch.sin(x / 9) * torch.cos(y / 7))[None, None]
    label = torch.zeros(1, 64, 64, dtype=torch.uint8)
    alike = []
    for seed in range(200):
        changed, marks = change_intensities(image, label, np.random.default_rng(seed), HOW)
        kept = marks[0] != IGNORE
        alike.append(np.corrcoef(changed[0, 0][kept], image[0, 0][kept])[0, 1])
    assert np.mean(np.array(alike) < 0.5) < 0.02


def test_a_bias_field_is_smooth_and_within_its_range() -> None:
    image = torch.ones(8, 1, 32, 32)
    gains = torch.cat([augment.add_bias_field(image, np.random.default_rng(s), 0.4) for s in range(50)]).log()
    assert gains.abs().max() <= 0.4 + 1e-5 and gains.max() > 0.25 and gains.min() < -0.25
    assert gains.diff(dim=2).abs().max() < 0.06


def test_a_3d_matrix_keeps_angles_in_space() -> None:
    """With thick slices, an unscaled rotation keeps lengths in mm, whatever the axes."""
    spacing, still = (1.0, 1.0, 4.0), Augmentation(zoom=(1.0, 1.0), mirroring=None)
    millimetres = np.diag([spacing[2], *spacing[:2]])
    for seed in range(20):
        matrix = millimetres @ draw_matrix_3d(np.random.default_rng(seed), still, spacing) @ np.linalg.inv(millimetres)
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=0.2)  # the axes in the plane differ by 8 %
        assert np.linalg.det(matrix) > 0 and abs(matrix[0, 1]) < 0.3


def test_a_3d_patch_with_the_identity_matrix_is_a_crop() -> None:
    image = torch.randint(-1000, 1000, (2, 9, 20, 24), dtype=torch.int16)
    label = torch.randint(0, 6, (1, 9, 20, 24), dtype=torch.uint8)
    patch, marks = cut_patch(image, label, np.array([4.0, 9.5, 11.5]), (5, 8, 10), np.eye(3))
    torch.testing.assert_close(patch, image[:, 2:7, 6:14, 7:17].float(), atol=0.05, rtol=0)
    assert torch.equal(marks, label[:, 2:7, 6:14, 7:17])
