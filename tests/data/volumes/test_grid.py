"""The grid keeps world positions, interpolates linear fields exactly, and restores labels voxel by voxel."""

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.volumes.grid import AxisMap, Grid

SHAPE = (9, 12, 7)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("oblique", [True, False])
class TestRandomAffine:
    def test_same_spacing_is_exact_both_ways(
        self, random_affine: Callable[..., np.ndarray], seed: int, oblique: bool
    ) -> None:
        affine = random_affine(seed, oblique=oblique)
        voxels = np.random.default_rng(seed).integers(0, 255, SHAPE, dtype=np.uint8)
        canonical = nib.as_closest_canonical(nib.Nifti1Image(voxels, affine))
        grid = Grid.over(SHAPE, affine, nib.affines.voxel_sizes(canonical.affine))
        np.testing.assert_array_equal(grid.image(voxels).numpy(), canonical.get_fdata())
        np.testing.assert_allclose(grid.affine, canonical.affine, atol=1e-4)
        np.testing.assert_array_equal(grid.label_to_source(grid.label(voxels)), voxels)

    def test_linear_field_keeps_its_world_positions(
        self, random_affine: Callable[..., np.ndarray], seed: int, oblique: bool
    ) -> None:
        affine = random_affine(seed, oblique=oblique)
        ijk = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
        field = (ijk @ affine[:3, :3].T + affine[:3, 3]) @ [1.0, -2.0, 0.5]
        grid = Grid.over(SHAPE, affine, (0.7, 0.9, 0.6))
        values = grid.image(field.astype(np.float32)).numpy()
        xyz = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
        expected = (xyz @ grid.affine[:3, :3].T + grid.affine[:3, 3]) @ [1.0, -2.0, 0.5]
        source = xyz @ grid.to_source[:3, :3].T + grid.to_source[:3, 3]
        inside = ((source >= 1) & (source <= np.array(SHAPE) - 2)).all(-1)
        if all(abs(axis.step) <= 1 for axis in grid.axes):
            inside = ((source >= 0) & (source <= np.array(SHAPE) - 1)).all(-1)
        # A symmetric kernel on uneven samples has an error of a fraction of a voxel where it downsamples.
        tolerance = 1e-2 if all(abs(axis.step) <= 1 for axis in grid.axes) else 2.0
        assert inside.any()
        np.testing.assert_allclose(values[inside], expected[inside], atol=tolerance)

    def test_codes_are_closest_to_ras(self, random_affine: Callable[..., np.ndarray], seed: int, oblique: bool) -> None:
        grid = Grid.over(SHAPE, random_affine(seed, oblique=oblique), (1.0, 1.0, 2.0))
        assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
        np.testing.assert_allclose(nib.affines.voxel_sizes(grid.affine), (1.0, 1.0, 2.0), rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_finer_grid_restores_the_label_exactly(random_affine: Callable[..., np.ndarray], seed: int) -> None:
    label = np.random.default_rng(seed).integers(0, 6, SHAPE, dtype=np.uint8)
    grid = Grid.over(SHAPE, random_affine(seed), (0.31, 0.27, 0.42))
    assert min(grid.shape) > max(SHAPE) / 2
    np.testing.assert_array_equal(grid.label_to_source(grid.label(label)), label)


def test_field_of_view_keeps_its_centre() -> None:
    grid = Grid.over((100, 100, 40), np.diag([0.5, 0.5, 3.0, 1]), (1.0, 1.0, 1.5))
    assert grid.shape == (50, 50, 80)
    middle = grid.affine @ [24.5, 24.5, 39.5, 1]
    np.testing.assert_allclose(middle[:3], [24.75, 24.75, 58.5])


def test_single_slice_is_not_resampled() -> None:
    assert Grid.over((10, 10, 1), np.diag([1, 1, 5.0, 1]), (1.0, 1.0, 1.5)).shape == (10, 10, 1)
    assert Grid.over((10, 10), np.diag([1, 1, 1.0, 1]), (1.0, 1.0, 1.5)).shape == (10, 10, 1)


def test_rounded_spacing_is_not_resampled() -> None:
    grid = Grid.over((64, 64, 30), np.diag([1.0000001, 0.9999999, 1.5, 1]), (1.0, 1.0, 1.5))
    assert not any(axis.is_resampled for axis in grid.axes)


def test_downsampling_averages_noise_away() -> None:
    noise = np.random.default_rng(0).normal(0, 100, (64, 8, 8)).astype(np.float32)
    values = Grid.over(noise.shape, np.eye(4), (4.0, 1.0, 1.0)).image(noise)
    assert float(values.std()) < 50  # point sampling would keep 100


@pytest.mark.parametrize("step", [0.4, 1.0, -1.0, 2.5, -0.7])
def test_weights_sum_to_one(step: float) -> None:
    size = max(1, round(10 / abs(step)))
    weights = AxisMap(0, 10, size, step, 4.5 - step * (size - 1) / 2).weights()
    torch.testing.assert_close(weights.sum(1), torch.ones(size))
    assert (weights >= 0).all()


def test_label_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="the grid"):
        Grid.over(SHAPE, np.eye(4), (1.0, 1.0, 1.0)).label_to_source(torch.zeros(3, 3, 3, dtype=torch.uint8))
