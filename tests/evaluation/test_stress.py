"""Each stress has the effect in its name, repeats with its seed, and does not change its input."""

import numpy as np
import pytest

from lib.evaluation.stress import STRESSES, resample_reference, thicken

AFFINE = np.array([[-1.0, 0, 0, 90], [0, 1.0, 0, -20], [0, 0, 1.5, 7], [0, 0, 0, 1]])


def _ramp() -> np.ndarray:
    """Return a volume in which each voxel has 100 times its slice number."""
    return np.broadcast_to(np.arange(7, dtype=np.int16) * 100, (30, 30, 7)).copy()


@pytest.mark.parametrize(
    ("name", "mean", "sd"),
    [("noise_sd_120", 0, 120), ("noise_sd_250", 0, 250), ("hu_plus_150", 150, 0), ("hu_minus_150", -150, 0)],
)
def test_noise_and_shift_have_the_named_size(name: str, mean: float, sd: float) -> None:
    hu = _ramp()
    perturbed, affine = STRESSES[name](hu, AFFINE, 3)
    added = perturbed - hu
    # 6300 voxels: the standard error of the mean is 250 / sqrt(6300) = 3 HU, that of the SD 2.2 HU.
    assert added.mean() == pytest.approx(mean, abs=12) and added.std() == pytest.approx(sd, abs=9)
    assert np.array_equal(affine, AFFINE) and np.array_equal(hu, _ramp())


@pytest.mark.parametrize("name", STRESSES)
def test_only_noise_depends_on_the_seed(name: str) -> None:
    first, again, other = (STRESSES[name](_ramp(), AFFINE, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) != name.startswith("noise")
    assert first.dtype == np.float32


def test_thick_slices_average_three_slices_and_lie_at_their_centre() -> None:
    perturbed, affine = STRESSES["slices_4_5_mm"](_ramp(), AFFINE, 0)
    assert perturbed.shape == (30, 30, 2)
    assert perturbed[0, 0].tolist() == [100.0, 400.0]
    # Slice 0 of the thick grid lies at slice 1 of the thin grid.
    assert affine @ [5, 6, 0, 1] == pytest.approx(AFFINE @ [5, 6, 1, 1])
    assert affine @ [5, 6, 1, 1] == pytest.approx(AFFINE @ [5, 6, 4, 1])


def test_a_thick_scan_is_not_changed() -> None:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    perturbed, after = thicken(_ramp(), affine, 0, slice_mm=4.5)
    assert np.array_equal(perturbed, _ramp()) and np.array_equal(after, affine)


def test_too_few_slices_are_refused() -> None:
    with pytest.raises(ValueError, match="2 slices"):
        thicken(_ramp()[:, :, :2], AFFINE, 0, slice_mm=4.5)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, 1, 0, 0, 0, 2, 9], [1, 0]),  # majority; the last slice is dropped
        ([3, 2, 1, 0, 255, 255, 9], [2, 255]),  # all differ: the middle slice
        ([0, 5, 0, 255, 0, 0, 9], [0, 0]),
    ],
)
def test_the_reference_is_the_majority_of_each_group(column: list[int], expected: list[int]) -> None:
    label = np.broadcast_to(np.array(column, np.uint8), (2, 2, 7)).copy()
    _, affine = thicken(label, AFFINE, 0, slice_mm=4.5)
    resampled = resample_reference(label, AFFINE, affine)
    assert resampled.dtype == np.uint8 and resampled.shape == (2, 2, 2)
    assert resampled[1, 1].tolist() == expected


def test_the_reference_is_unchanged_on_the_same_grid() -> None:
    label = np.ones((2, 2, 3), np.uint8)
    assert resample_reference(label, AFFINE, AFFINE) is label
