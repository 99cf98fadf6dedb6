"""Surface scores agree with distances computed by hand and with MONAI."""

import math

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice
from scipy import ndimage

from lib.evaluation.metrics.surface import hd95, nsd, surface_scores


def _voxel(*place: int) -> np.ndarray:
    mask = np.zeros((12, 12, 12), bool)
    mask[place] = True
    return mask


@pytest.mark.parametrize(
    ("other", "expected_mm"),
    [((3, 4, 5), 0.0), ((5, 4, 5), 2.0), ((3, 6, 5), 3.0), ((3, 4, 7), 6.0), ((5, 6, 7), 7.0)],
)
def test_distance_follows_the_spacing(other: tuple[int, ...], expected_mm: float) -> None:
    spacing = (1.0, 1.5, 3.0)
    assert hd95(_voxel(3, 4, 5), _voxel(*other), spacing) == pytest.approx(expected_mm)
    assert nsd(_voxel(3, 4, 5), _voxel(*other), spacing, expected_mm) == 1.0
    assert nsd(_voxel(3, 4, 5), _voxel(*other), spacing, expected_mm - 0.01) == 0.0


def test_nsd_is_the_share_of_both_surfaces() -> None:
    """Lines of 4 and of 10 voxels: 4 + 4 of 14 voxels at distance 0, one more within 1 mm, two more within 2 mm."""
    short, long = np.zeros((12, 3, 3), bool), np.zeros((12, 3, 3), bool)
    short[0:4, 1, 1] = long[0:10, 1, 1] = True
    for tolerance_mm, hits in ((0.0, 8), (1.0, 9), (2.0, 10), (6.0, 14)):
        assert nsd(short, long, (1.0, 1.0, 1.0), tolerance_mm) == pytest.approx(hits / 14)


def test_hd95_is_the_95th_percentile_of_the_worse_direction() -> None:
    """The voxels of the long line lie 0, 0, 0, 0, 1, ..., 6 mm from the short line: 95th percentile 5.55 mm."""
    short, long = np.zeros((12, 3, 3), bool), np.zeros((12, 3, 3), bool)
    short[0:4, 1, 1] = long[0:10, 1, 1] = True
    assert hd95(short, long, (1.0, 1.0, 1.0)) == pytest.approx(5.55)
    assert hd95(long, short, (1.0, 1.0, 1.0)) == pytest.approx(5.55)


def test_inner_voxels_are_not_part_of_the_surface() -> None:
    solid, hollow = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    solid[1:8, 1:8, 1:8] = hollow[1:8, 1:8, 1:8] = True
    hollow[4, 4, 4] = False
    # Both have 218 surface voxels; the hole adds 6 more, 3 - 1 = 2 mm below the outer surface.
    assert nsd(solid, hollow, (1.0, 1.0, 1.0), 1.9) == pytest.approx(436 / 442)
    assert nsd(solid, hollow, (1.0, 1.0, 1.0), 2.0) == 1.0


def test_empty_masks() -> None:
    full, empty = _voxel(3, 3, 3), np.zeros((12, 12, 12), bool)
    assert surface_scores(full, empty, (1.0, 1.0, 1.0), 1.0) == (0.0, math.inf)
    assert surface_scores(empty, full, (1.0, 1.0, 1.0), 1.0) == (0.0, math.inf)
    assert all(math.isnan(score) for score in surface_scores(empty, empty, (1.0, 1.0, 1.0), 1.0))


def test_two_dimensions() -> None:
    prediction, reference = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    prediction[1, 1] = reference[4, 5] = True
    assert hd95(prediction, reference, (1.0, 1.0)) == pytest.approx(5.0)


def test_a_spacing_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        hd95(_voxel(1, 1, 1), _voxel(1, 1, 1), (1.0, 1.0))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.filterwarnings("ignore")
def test_agrees_with_monai(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, reference = (ndimage.gaussian_filter(rng.random((20, 18, 14)), 2) > 0.5 for _ in range(2))
    spacing = (1.0, 1.2, 2.0)
    one, other = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference))
    monai_nsd = compute_surface_dice(one, other, [1.5], include_background=True, spacing=spacing).item()
    monai_hd95 = compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=spacing).item()
    assert nsd(prediction, reference, spacing, 1.5) == pytest.approx(monai_nsd, abs=1e-6)
    assert hd95(prediction, reference, spacing) == pytest.approx(monai_hd95, abs=1e-5)
