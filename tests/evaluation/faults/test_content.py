"""Parts drawn into tissue get a code by their connection to the label; a label drawn slightly wide has no finding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lib.evaluation.faults.content import find_contradictions
from lib.evaluation.faults.neighbours import dilate


def add_spur(label: np.ndarray) -> None:
    label[30:38, 22, 20] = 2


def add_leak(label: np.ndarray) -> None:
    x, y, z = np.ogrid[:48, :44, :60]
    label[((x - 36) ** 2 + (y - 22) ** 2 + (1.5 * (z - 20)) ** 2 <= 25) & (label == 0)] = 2
    label[29:32, 22, 20] = 2


def add_handle(label: np.ndarray) -> None:
    label[29:37, 22, 14] = label[29:37, 22, 26] = label[36, 22, 14:27] = 2


def add_island(label: np.ndarray) -> None:
    label[34:38, 20:24, 20:24] = 1


@pytest.mark.parametrize(
    ("add_fault", "code", "place", "voxels", "name"),
    [
        (add_spur, "SPUR", (34, 22, 20), 8, "trachea"),
        (add_leak, "LEAK", (36, 22, 20), 349, "trachea"),
        (add_handle, "LOOP", (36, 22, 20), 27, "trachea"),
        (add_island, "ISLAND", (36, 22, 22), 64, "larynx"),
    ],
)
@pytest.mark.parametrize("noise_hu", [10, 150])
def test_an_added_part_gets_its_code_place_and_volume(
    make_case: Callable[..., Any], add_fault: Callable, code: str, place: tuple, voxels: int, name: str, noise_hu: int
) -> None:
    case = make_case(noise_hu)
    add_fault(case.label)
    (fault,) = find_contradictions(case.scene())
    assert (fault.code, fault.label) == (code, name)
    assert np.linalg.norm(np.subtract(fault.voxel, place)) <= 2
    assert fault.volume_mm3 == pytest.approx(1.5 * voxels, rel=0.2)


def test_a_bridge_to_another_piece_is_joined_and_not_a_loop(case: Any) -> None:
    pocket = slice(34, 40), slice(18, 27), slice(15, 25)
    case.image[pocket], case.label[pocket] = -1000, 1
    assert list(find_contradictions(case.scene())) == []
    case.label[30:34, 21:24, 19:22] = 1
    (fault,) = find_contradictions(case.scene())
    assert fault.code == "JOINED" and np.linalg.norm(np.subtract(fault.voxel, (31.5, 22, 20))) <= 1


@pytest.mark.parametrize("noise_hu", [10, 250])
def test_a_correct_or_slightly_wide_label_has_no_findings(make_case: Callable[..., Any], noise_hu: int) -> None:
    case = make_case(noise_hu)
    assert list(find_contradictions(case.scene())) == []
    wide = dilate(case.label > 0) & (case.label == 0)
    case.label[wide] = 2
    assert list(find_contradictions(case.scene())) == []


def add_fold(case: Any, hu: float) -> None:
    """Label a sheet, one voxel thick, beside the trachea and between two plates of bone."""
    case.image[30:40, 20, 14:27] = case.image[30:40, 24, 14:27] = 600
    case.image[30:40, 22, 14:27] = hu
    case.label[29:40, 22, 14:27] = 2


def test_a_faint_fold_has_no_finding_and_a_sheet_in_tissue_is_a_spur(make_case: Callable[..., Any]) -> None:
    faint, none = make_case(10), make_case(10)
    add_fold(faint, -90)
    assert list(find_contradictions(faint.scene())) == []
    add_fold(none, 40)
    assert [fault.code for fault in find_contradictions(none.scene())] == ["SPUR"]
