"""Labels on the grid of their images: changes of order are exact, and a refusal says what differs."""

import itertools

import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.data.labels.placing import place, place_in_picture

SHAPE = (4, 5, 6)
AFFINE = np.array([[-2.0, 0, 0, 95], [0, -2, 0, 87], [0, 0, 3, -30], [0, 0, 0, 1]])
VOXELS = np.arange(120).reshape(SHAPE)


def turned(axes: tuple[int, ...], flips: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels with axes in another order, some reversed, and the affine of that order."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[list(axes)].T
    voxels = VOXELS.transpose(axes)
    for axis, flip in enumerate(flips):
        if flip:
            voxels = np.flip(voxels, axis)
            back = np.eye(4)
            back[axis, axis], back[axis, 3] = -1, voxels.shape[axis] - 1
            matrix = matrix @ back
    return voxels, AFFINE @ matrix


def located(shape: tuple[int, ...], affine: np.ndarray, *, part: bool = False, image: np.ndarray = AFFINE) -> object:
    return place("label.nrrd", shape, affine, SHAPE, image, may_be_part=part)


@pytest.mark.parametrize("axes", itertools.permutations(range(3)))
@pytest.mark.parametrize("flips", itertools.product([False, True], repeat=3))
def test_all_orders_of_the_voxels_are_exact(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    voxels, affine = turned(axes, flips)
    placement = place("label.nrrd", voxels.shape, affine, SHAPE, AFFINE, may_be_part=False)
    assert np.array_equal(placement.apply(voxels, "label.nrrd"), VOXELS)
    assert placement.is_identity == (axes == (0, 1, 2) and not any(flips))


@pytest.mark.parametrize(("moved_voxels", "fits"), [(0.4, True), (0.6, False)])
def test_a_label_may_differ_by_half_a_voxel(moved_voxels: float, fits: bool) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += 2 * moved_voxels
    if fits:
        assert place("label.nrrd", SHAPE, affine, SHAPE, AFFINE, may_be_part=False).is_identity
        return
    with pytest.raises(InputRejected, match=r"origin in mm \(RAS\) \(96.2, 87, -30\), the image has \(95, 87, -30\)"):
        located(SHAPE, affine)


@pytest.mark.parametrize(
    ("shape", "affine", "differs"),
    [
        ((4, 5, 3), AFFINE, ["size in voxels 4 x 5 x 3, the image has 4 x 5 x 6"]),
        (SHAPE, AFFINE + np.array([[0, 0, 0, 30]] * 3 + [[0] * 4]), ["origin in mm (RAS) (125, 117, 0)"]),
        (
            SHAPE,
            np.eye(4),
            ["spacing in mm 1 x 1 x 1, the image has 2 x 2 x 3", "axes RAS, the image has LPS", "origin"],
        ),
        (SHAPE, AFFINE @ np.diag([-1.0, 1, 1, 1]), ["axes RPS, the image has LPS"]),
        (SHAPE, AFFINE @ np.diag([1, 1, 2.0, 1]), ["spacing in mm 2 x 2 x 6"]),
        (SHAPE, np.full((4, 4), np.nan), ["origin in mm (RAS) (nan, nan, nan)"]),
        (SHAPE, np.zeros((4, 4)), ["spacing in mm 0 x 0 x 0"]),
    ],
)
def test_a_refusal_names_what_differs(shape: tuple[int, ...], affine: np.ndarray, differs: list[str]) -> None:
    with pytest.raises(InputRejected) as caught:
        located(shape, affine)
    (finding,) = caught.value.findings
    assert finding.code == "LABEL_GRID" and finding.remedy and all(text in finding.reason for text in differs)


def test_a_turned_label_is_refused_with_its_angle() -> None:
    turn = np.deg2rad(20)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    with pytest.raises(InputRejected, match=r"turned by 20\.0 degrees"):
        located(SHAPE, matrix @ AFFINE)


def test_a_part_is_put_back_only_if_it_may_be_one() -> None:
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ (1, 2, 0, 1))[:3]
    part = VOXELS[1:4, 2:4]
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        located(part.shape, affine)
    whole = place("label.nrrd", part.shape, affine, SHAPE, AFFINE, may_be_part=True).apply(part, "label.nrrd")
    expected = np.zeros_like(VOXELS)
    expected[1:4, 2:4] = part
    assert np.array_equal(whole, expected)


def test_a_part_between_voxels_is_refused() -> None:
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ (1.3, 2, 0, 1))[:3]
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        located((3, 2, 6), affine, part=True)


def test_a_part_may_be_larger_than_the_image_if_nothing_is_labelled_outside() -> None:
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ (-1, 0, 0, 1))[:3]
    larger = np.pad(VOXELS, ((1, 1), (0, 0), (0, 0)))
    placement = place("label.nrrd", larger.shape, affine, SHAPE, AFFINE, may_be_part=True)
    assert np.array_equal(placement.apply(larger, "label.nrrd"), VOXELS)
    larger[0, 0, :2] = 1
    with pytest.raises(InputRejected, match=r"2 labelled voxels of the label 'label.nrrd' lie outside"):
        placement.apply(larger, "label.nrrd")


def test_a_part_beside_the_image_holds_nothing() -> None:
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ (10, 0, 0, 1))[:3]
    placement = place("label.nrrd", SHAPE, affine, SHAPE, AFFINE, may_be_part=True)
    assert not placement.apply(np.zeros(SHAPE, np.uint8), "label.nrrd").any()
    with pytest.raises(InputRejected, match="lie outside"):
        placement.apply(np.ones(SHAPE, np.uint8), "label.nrrd")


def test_a_plane_has_one_slice() -> None:
    assert place("a", (4, 5), AFFINE, (4, 5, 1), AFFINE, may_be_part=False).is_identity
    assert place("a", (4, 5, 1), AFFINE, (4, 5), AFFINE, may_be_part=False).is_identity


def test_an_image_without_a_valid_affine_is_named() -> None:
    with pytest.raises(InputRejected, match="BAD_AFFINE"):
        located(SHAPE, AFFINE, image=np.zeros((4, 4)))


FLAT = (6, 5)
PIXELS = np.arange(30).reshape(FLAT)


def grid(columns: list[float], rows: list[float], origin: list[float]) -> np.ndarray:
    """Return an affine with these steps of columns and rows, and this origin, in LPS mm."""
    lps = np.eye(4)
    lps[:2, 0], lps[:2, 1], lps[:2, 3] = columns, rows, origin
    return np.diag([-1.0, -1, 1, 1]) @ lps


@pytest.mark.parametrize(
    ("voxels", "affine"),
    [
        (PIXELS, grid([1, 0], [0, 1], [0, 0])),
        (PIXELS, grid([0.0847, 0], [0, 0.1693], [0, 0])),  # spacing from a resolution for prints
        (PIXELS, grid([1, 0], [0, 1], [-40, 12])),
        (PIXELS, grid([-1, 0], [0, -1], [0, 0])),  # nibabel with the affine np.eye(4)
        (PIXELS[:, :, None], grid([2, 0], [0, 2], [0, 0])),
        (PIXELS[::-1, ::-1], grid([-0.5, 0], [0, -0.5], [2.5, 2])),
        (PIXELS[:, ::-1, None], grid([2, 0], [0, -2], [0, 8])),
        (PIXELS.T, grid([0, 1], [1, 0], [0, 0])),
        (PIXELS.T[::-1], grid([0, -3], [3, 0], [0, 12])),
    ],
)
def test_the_size_places_a_label_on_a_picture(voxels: np.ndarray, affine: np.ndarray) -> None:
    placement = place_in_picture("label.nrrd", voxels.shape, affine, FLAT)
    found = placement.apply(voxels.reshape((*voxels.shape, 1)[:3]), "label.nrrd")
    assert np.array_equal(found[..., 0], PIXELS)


@pytest.mark.parametrize(
    ("shape", "affine", "text"),
    [
        ((5, 6), grid([1, 0], [0, 1], [0, 0]), "5 x 6 pixels, its image has 6 x 5"),
        ((6, 5, 2), grid([1, 0], [0, 1], [0, 0]), "6 x 5 x 2"),
        ((6, 5), grid([-1, 0], [0, -1], [30, 30]), r"at \(-30, -30, 0\)"),
        ((6, 5), grid([0.8, 0.6], [-0.6, 0.8], [0, 0]), "has axes"),
        ((6, 5), grid([0, 0], [0, 1], [0, 0]), "has axes"),
        ((6, 5), grid([np.nan, 0], [0, 1], [0, 0]), "has axes"),
    ],
)
def test_a_label_that_does_not_fit_a_picture_is_refused(shape: tuple[int, ...], affine: np.ndarray, text: str) -> None:
    with pytest.raises(InputRejected, match=f"LABEL_GRID.*{text}"):
        place_in_picture("label.nrrd", shape, affine, FLAT)
