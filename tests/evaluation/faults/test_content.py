"""What was drawn into tissue: named by how it hangs on the rest; a wall that is drawn wide is left alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.content import contradicted
from lib.evaluation.faults.neighbours import grow


def spur(label: np.ndarray) -> None:
    label[30:38, 22, 20] = 2


def leak(label: np.ndarray) -> None:
    x, y, z = np.ogrid[:48, :44, :60]
    label[((x - 36) ** 2 + (y - 22) ** 2 + (1.5 * (z - 20)) ** 2 <= 25) & (label == 0)] = 2
    label[29:32, 22, 20] = 2


def handle(label: np.ndarray) -> None:
    label[29:37, 22, 14] = label[29:37, 22, 26] = label[36, 22, 14:27] = 2


def island(label: np.ndarray) -> None:
    label[34:38, 20:24, 20:24] = 1


@pytest.mark.parametrize(
    ("spoil", "code", "place", "voxels", "name"),
    [
        (spur, "SPUR", (34, 22, 20), 8, "trachea"),
        (leak, "LEAK", (36, 22, 20), 349, "trachea"),
        (handle, "LOOP", (36, 22, 20), 27, "trachea"),
        (island, "ISLAND", (36, 22, 22), 64, "larynx"),
    ],
)
@pytest.mark.parametrize("noise_hu", [10, 150])
def test_kinds(
    make_case: Callable[..., Any], spoil: Callable, code: str, place: tuple, voxels: int, name: str, noise_hu: int
) -> None:
    case = make_case(noise_hu)
    spoil(case.label)
    (fault,) = contradicted(case.scene())
    assert (fault.code, fault.label) == (code, name)
    assert np.linalg.norm(np.subtract(fault.voxel, place)) <= 2
    assert fault.volume_mm3 == pytest.approx(1.5 * voxels, rel=0.2)


def test_a_bridge_to_another_piece_joins_and_closes_no_loop(case: Any) -> None:
    pocket = slice(34, 40), slice(18, 27), slice(15, 25)
    case.image[pocket], case.label[pocket] = -1000, 1
    assert list(contradicted(case.scene())) == []
    case.label[30:34, 21:24, 19:22] = 1
    (fault,) = contradicted(case.scene())
    assert fault.code == "JOINED" and np.linalg.norm(np.subtract(fault.voxel, (31.5, 22, 20))) <= 1


@pytest.mark.parametrize("noise_hu", [10, 250])
def test_a_right_label_and_one_drawn_a_voxel_wide_say_nothing(make_case: Callable[..., Any], noise_hu: int) -> None:
    case = make_case(noise_hu)
    assert list(contradicted(case.scene())) == []
    wide = grow(case.label > 0) & (case.label == 0)
    case.label[wide] = 2
    assert list(contradicted(case.scene())) == []


def fold(case: Any, hu: float) -> None:
    """A sheet one voxel thick that hangs on the trachea between two plates of bone."""
    case.image[30:40, 20, 14:27] = case.image[30:40, 24, 14:27] = 600
    case.image[30:40, 22, 14:27] = hu
    case.label[29:40, 22, 14:27] = 2


def test_a_faint_fold_is_left_alone_and_a_sheet_drawn_into_tissue_is_not(make_case: Callable[..., Any]) -> None:
    faint, none = make_case(10), make_case(10)
    fold(faint, -90)
    assert list(contradicted(faint.scene())) == []
    fold(none, 40)
    assert [fault.code for fault in contradicted(none.scene())] == ["SPUR"]
