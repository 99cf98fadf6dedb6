"""An image is brought onto another one's voxels by their places in space, whatever their grids."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.data.formats import Header, Volume
from lib.data.volumes.overlay import overlay


def scan(shape: tuple[int, ...], affine: np.ndarray) -> Volume:
    """Return an image whose values are x + 2 y + 3 z of their places in mm, plus 100."""
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    return Volume((100 + places @ [1.0, 2.0, 3.0]).astype(np.float32), affine)


def affine(spacing: tuple[float, float, float], origin: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = origin
    return matrix


def turned(degrees: float, spacing: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] *= spacing
    matrix[:3, 3] = (6, -12, -6)
    return matrix


@pytest.mark.parametrize(
    "other",
    [affine((1.5, 0.5, 2.0), (-3, -2, -4)), affine((-1.0, 1.0, -1.5), (40, -5, 40)), turned(20, 1.3)],
    ids=["spacing and origin", "flipped axes", "oblique"],
)
def test_values_are_those_of_their_places(other: np.ndarray) -> None:
    onto = scan((20, 18, 12), affine((1.0, 1.2, 2.0)))
    image = scan((60, 90, 50), other)
    found = overlay(image, onto, "t2")
    inverse = np.linalg.inv(other)
    places = np.stack(np.meshgrid(*map(np.arange, onto.voxels.shape), indexing="ij"), -1) @ onto.affine[:3, :3].T
    own = places @ inverse[:3, :3].T + inverse[:3, 3]
    # Smoothing changes the border only, and the linear image is kept inside.
    inside = ((own >= 3) & (own <= np.array(image.voxels.shape) - 4)).all(-1)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(found[inside], onto.voxels[inside], atol=0.02)
    assert found.shape == onto.voxels.shape


def test_the_same_grid_is_not_interpolated() -> None:
    onto = scan((8, 9, 5), affine((1.0, 1.2, 2.0)))
    image = Volume(np.arange(360, dtype=np.int16).reshape(8, 9, 5), onto.affine + 1e-6)
    assert overlay(image, onto, "t2") is image.voxels


def test_outside_has_the_lowest_value() -> None:
    onto = scan((10, 10, 10), np.eye(4))
    image = Volume(np.full((10, 10, 10), 7.0, np.float32), affine((1, 1, 1), (4, 0, 0)))
    image.voxels[0, 0, 0] = -3
    assert (overlay(image, onto, "t2")[:4] == -3).all()


def test_a_channel_of_another_place_is_refused() -> None:
    onto = scan((10, 10, 10), np.eye(4))
    with pytest.raises(InputRejected, match="'t2' covers 30% of its image") as refused:
        overlay(Volume(onto.voxels, affine((1, 1, 1), (7, 0, 0))), onto, "t2")
    assert refused.value.findings[0].code == "CHANNEL_GRID"


def test_slices_of_a_tilted_image_are_placed_one_by_one() -> None:
    onto = scan((12, 12, 6), affine((1.0, 1.0, 2.0)))
    tilt = affine((1.0, 1.0, 2.0), (-4, -4, -2))
    origins = np.array([(-4.0, -4.0 + 0.4 * k, -2.0 + 2 * k) for k in range(10)])
    places = np.stack(np.meshgrid(np.arange(20), np.arange(20), indexing="ij"), -1)
    planes = [100 + places @ [1.0, 2.0] + origin @ [1.0, 2.0, 3.0] for origin in origins]
    header = Header(Path("t2"), "dicom", (20, 20, 10), 1, 4, tilt, origins=origins)
    image = Volume(np.stack(planes, -1).astype(np.float32), tilt, header)
    found = overlay(image, onto, "t2")
    np.testing.assert_allclose(found[2:-2, 2:-2], onto.voxels[2:-2, 2:-2], atol=0.05)
    # The other way round: the reference is tilted, and the channel straight.
    back = overlay(scan((30, 30, 12), affine((1.0, 1.0, 2.0), (-6, -6, -4))), image, "t1")
    np.testing.assert_allclose(back[2:-2, 2:-2], image.voxels[2:-2, 2:-2], atol=0.05)


def test_pictures_have_one_size() -> None:
    header = Header(Path("a.png"), "picture", (8, 6), 1, 1, np.eye(4), in_pixels=True)
    onto = Volume(np.zeros((8, 6), np.uint8), np.eye(4), header)
    other = Volume(np.ones((8, 6), np.uint8), np.diag([3.0, 3.0, 1.0, 1.0]), header)
    assert overlay(other, onto, "b") is other.voxels
    with pytest.raises(InputRejected, match="send all channels in one size"):
        overlay(replace(other, voxels=np.ones((6, 8), np.uint8)), onto, "b")
