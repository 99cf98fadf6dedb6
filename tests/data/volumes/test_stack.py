"""Slices are oriented as networks expect, and masks map back to the voxels of the file."""

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.data.formats import Volume
from lib.data.volumes.stack import Stack

SHAPE = (9, 12, 7)
AXES = {
    "axial": np.diag([-1.0, -1, 1, 1]),
    "sagittal": np.eye(4)[:, [1, 2, 0, 3]],
    "coronal": np.eye(4)[:, [0, 2, 1, 3]],
}


def some_volume(affine: np.ndarray, shape: tuple[int, ...] = SHAPE) -> Volume:
    voxels = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    return Volume(np.asfortranarray(voxels), affine)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("oblique", [True, False])
def test_positions_and_masks_map_back(random_affine: Callable[..., np.ndarray], seed: int, oblique: bool) -> None:
    volume = some_volume(random_affine(seed, oblique=oblique))
    stack = Stack(volume)
    assert len(stack) == SHAPE[2] and sorted(stack.plane_shape) == sorted(SHAPE[:2])
    for ijk in np.random.default_rng(seed).integers(0, SHAPE, (20, 3)).tolist():
        index, row, column = stack.plane_position(tuple(ijk))
        assert stack.file_voxel(index, row, column) == tuple(ijk)
        assert stack.plane(index)[0, row, column] == volume.voxels[tuple(ijk)]
        mask = torch.zeros(stack.plane_shape, dtype=torch.uint8)
        mask[row, column] = 3
        label = stack.to_source({index: mask})
        assert label.shape == SHAPE and label.dtype == np.uint8 and np.argwhere(label).tolist() == [ijk]


@pytest.mark.parametrize("plane", AXES)
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 0.7, 3.0)])
def test_rows_and_columns_point_right_anterior_or_superior(plane: str, spacing_mm: tuple[float, float, float]) -> None:
    affine = AXES[plane] @ np.diag([*spacing_mm, 1])
    stack = Stack(some_volume(affine))
    steps = [np.subtract(stack.file_voxel(3, *at), stack.file_voxel(3, 4, 4)) for at in ((5, 4), (4, 5))]
    moved = [affine[:3, :3] @ step for step in steps]
    directions = [int(np.argmax(np.abs(step))) for step in moved]
    assert directions == {"axial": [0, 1], "sagittal": [1, 2], "coronal": [0, 2]}[plane]
    assert all(step[axis] > 0 for step, axis in zip(moved, directions, strict=True))
    assert np.allclose([np.linalg.norm(step) for step in moved], stack.spacing_mm)


def test_planes_of_a_canonical_file_are_unchanged() -> None:
    volume = some_volume(np.eye(4))
    assert np.array_equal(Stack(volume).plane(2)[0].numpy(), volume.voxels[..., 2])
    assert Stack(volume).plane(2).dtype == torch.float32


@pytest.mark.parametrize("seed", range(4))
def test_2d_volume_has_one_slice(random_affine: Callable[..., np.ndarray], seed: int) -> None:
    volume = some_volume(random_affine(seed), SHAPE[:2])
    stack = Stack(volume)
    _, row, column = stack.plane_position((2, 5, 0))
    assert len(stack) == 1 and stack.plane(0)[0, row, column] == volume.voxels[2, 5]
    mask = torch.ones(stack.plane_shape, dtype=torch.uint8)
    assert stack.to_source({0: mask}).shape == SHAPE[:2] and stack.to_source({}).sum() == 0


def test_planes_of_a_colour_image_have_its_channels(random_affine: Callable[..., np.ndarray]) -> None:
    channels = np.random.default_rng(0).integers(0, 255, (3, *SHAPE[:2]), np.uint8)
    stack = Stack(Volume(channels[0], random_affine(0), others=tuple(channels[1:])))
    _, row, column = stack.plane_position((2, 5, 0))
    assert stack.plane(0).shape == (3, *stack.plane_shape) and stack.nbytes == channels.nbytes
    assert stack.plane(0)[:, row, column].tolist() == channels[:, 2, 5].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_masks_of_a_label_restore_the_label(random_affine: Callable[..., np.ndarray], seed: int) -> None:
    label = np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)
    label[..., [0, 4]] = 0
    stack = Stack(some_volume(random_affine(seed)))
    masks = stack.masks(label)
    assert list(masks) == [1, 2, 3, 5, 6] and np.array_equal(stack.to_source(masks), label)


def test_volume_is_not_copied() -> None:
    volume = some_volume(nib.affines.from_matvec(np.diag([-1, 1, 1]), [0, 0, 0]))
    stack = Stack(volume)
    volume.voxels[3, 4, 5] = 777
    assert stack.plane(5)[0][stack.plane_position((3, 4, 5))[1:]] == 777 and stack.nbytes == volume.voxels.nbytes
