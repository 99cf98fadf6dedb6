"""What lies beyond the skin; the airway within, and its open ends, do not."""

from typing import Any

import numpy as np

from lib.evaluation.faults.outside import outside_body


def test_a_piece_in_the_air_around_is_outside(case: Any) -> None:
    case.image = np.pad(case.image, ((20, 0), (0, 0), (0, 0)), constant_values=-1000)
    case.label = np.pad(case.label, ((20, 0), (0, 0), (0, 0)))
    assert list(outside_body(case.scene(), case.image)) == []
    case.label[0:5, 20:25, 20:26] = 2
    (fault,) = outside_body(case.scene(), case.image)
    assert (fault.code, fault.label) == ("OUTSIDE_BODY", "trachea")
    assert np.linalg.norm(np.subtract(fault.voxel, (2, 22, 22.5))) <= 1
    assert fault.volume_mm3 == 1.5 * 5 * 5 * 6


def test_without_any_tissue_nothing_is_said(case: Any) -> None:
    assert list(outside_body(case.scene(), np.full_like(case.image, -1000))) == []
