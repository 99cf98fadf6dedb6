"""A straight grid shows a smooth object where the positions of the slices say, and gives labels back to the slices."""

import numpy as np
import pytest

from lib.data.volumes.straight import StraightGrid

SHAPE, SPACING_MM = (20, 24, 12), (1.5, 1.0)


def stack(steps_mm: list[float], lean: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return affine and origins of oblique slices, shifted in their planes by `lean` mm per mm."""
    angle = 0.4
    along, down = np.array([np.cos(angle), np.sin(angle), 0]), np.array([-np.sin(angle), np.cos(angle), 0])
    normal = np.cross(along, down)
    depth = np.append(0, np.cumsum(steps_mm))
    origins = np.array([5.0, -7.0, 30.0]) + np.outer(depth, normal + lean[0] * along + lean[1] * down)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along * SPACING_MM[0], down * SPACING_MM[1]
    affine[:3, 2], affine[:3, 3] = (origins[-1] - origins[0]) / (len(origins) - 1), origins[0]
    return affine, origins


def positions(affine: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Return the position of each voxel in mm, ``(X, Y, Z, 3)``, from the tags of its slice alone."""
    i, j, k = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    return origins[k] + i[..., None] * affine[:3, 0] + j[..., None] * affine[:3, 1]


CASES = {
    "tilt": ([3.0] * 11, (0.0, 0.33)),
    "tilt both ways": ([3.0] * 11, (-0.2, 0.1)),
    "uneven": ([2.0] * 5 + [0.7] + [4.0] * 5, (0.0, 0.0)),
    "tilt and uneven": ([2.0] * 5 + [0.7] + [4.0] * 5, (0.1, -0.34)),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return stack(*request.param)


def test_a_linear_intensity_keeps_its_value_at_each_position(case: tuple[np.ndarray, np.ndarray]) -> None:
    affine, origins = case
    slope = np.array([3.0, -2.0, 1.0])
    grid = StraightGrid(SHAPE, affine, origins)
    image = grid.image(positions(affine, origins) @ slope)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    expected = (index @ grid.affine[:3, :3].T + grid.affine[:3, 3]) @ slope
    # A grid voxel has a value if the slices around it cover its place; the border of a moved slice is half covered.
    inside = grid.points_to_slices(index.reshape(-1, 3)).reshape(*grid.shape, 3)
    covered = ((inside >= 2) & (inside <= np.array(SHAPE) - 3)).all(-1)
    assert covered.sum() > 500
    np.testing.assert_allclose(image[covered], expected[covered], atol=0.02)
    cosines = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-9)


def test_points_lie_where_the_tags_of_their_slice_say(case: tuple[np.ndarray, np.ndarray]) -> None:
    affine, origins = case
    grid = StraightGrid(SHAPE, affine, origins)
    ijk = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).reshape(-1, 3)
    xyz = grid.points_to_grid(ijk)
    placed = xyz @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    np.testing.assert_allclose(placed, positions(affine, origins).reshape(-1, 3), atol=1e-6)
    np.testing.assert_allclose(grid.points_to_slices(xyz), ijk, atol=1e-6)


def test_a_label_comes_back_to_its_voxels(case: tuple[np.ndarray, np.ndarray]) -> None:
    affine, origins = case
    label = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    grid = StraightGrid(SHAPE, affine, origins)
    np.testing.assert_array_equal(grid.to_slices(grid.label(label)), label)


def test_evenly_spaced_slices_are_not_interpolated_between_planes() -> None:
    affine, origins = stack(*CASES["tilt"])
    assert StraightGrid(SHAPE, affine, origins).shape[2] == SHAPE[2]
