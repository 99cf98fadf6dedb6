"""Label maps are cropped around labels, and phantom maps have the given number and classes."""

import numpy as np
import pytest
import torch

from lib.data.intensity import Scale
from lib.data.patches.label_maps import case_maps, phantom_maps
from lib.data.pipeline import ImageSpec, Reading
from lib.data.volumes.grid import Grid

SPEC = ImageSpec(spacing_mm=(4, 4, 6), window=(-1000, 400), roi=(24, 32))


def reading(slices: int = 10) -> Reading:
    """Return a case with a square label that moves from slice to slice, on slices 2 to 6."""
    label = torch.zeros(40, 40, slices, dtype=torch.uint8)
    for z in range(2, 7):
        label[2 * z : 2 * z + 6, 10:16, z] = 1
    label[0, 0] = 255
    intensities = torch.where(label == 1, 400.0, -1000.0)[None]
    grid = Grid.over(label.shape, np.eye(4), (1, 1, 1))
    return Reading(intensities, label, grid, scales=(Scale(-1000, 400),))


def test_crops_are_centred_on_the_label() -> None:
    found = case_maps([("a", reading()), ("b", reading())], SPEC, per_case=3)
    assert found.labels.shape == found.images.shape == (6, 24, 32) and found.owners == ("a",) * 3 + ("b",) * 3
    for label, image in zip(found.labels, found.images, strict=True):
        rows, columns = np.nonzero(label == 1)
        assert len(rows) == 36 and abs(rows.mean() - 12) <= 1 and abs(columns.mean() - 16) <= 1
        assert np.array_equal(image == 1, label == 1)


@pytest.mark.parametrize(("wanted", "given"), [(1, 1), (5, 5), (99, 5)])
def test_only_slices_with_a_label_are_used(wanted: int, given: int) -> None:
    assert len(case_maps([("a", reading())], SPEC, per_case=wanted).labels) == given


def test_phantom_maps_depend_on_their_seed() -> None:
    one, same, other = (phantom_maps(5, seed, SPEC, per_case=3) for seed in (3, 3, 4))
    assert one.labels.shape == (5, 24, 32) and len(one.owners) == 5 and len(set(one.owners)) == 2
    assert np.array_equal(one.labels, same.labels) and not np.array_equal(one.labels, other.labels)
    assert set(np.unique(one.labels)) <= {0, 1, 2, 3, 4, 5, 255}
    united = phantom_maps(5, 3, SPEC, united=True, per_case=3).labels
    assert np.array_equal(united == 1, (one.labels > 0) & (one.labels != 255))
