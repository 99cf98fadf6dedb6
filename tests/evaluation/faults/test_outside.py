"""A piece outside the skin is reported; the airway inside the body and its open ends are not."""

from typing import Any

import numpy as np

from lib.evaluation.faults.outside import find_outside_body


def test_a_piece_in_the_air_around_the_body_is_outside(case: Any) -> None:
    case.image = np.pad(case.image, ((20, 0), (0, 0), (0, 0)), constant_values=-1000)
    case.label = np.pad(case.label, ((20, 0), (0, 0), (0, 0)))
    assert list(find_outside_body(case.scene(), case.image)) == []
    case.label[0:5, 20:25, 20:26] = 2
    (fault,) = find_outside_body(case.scene(), case.image)
    assert (fault.code, fault.label) == ("OUTSIDE_BODY", "trachea")
    assert np.linalg.norm(np.subtract(fault.voxel, (2, 22, 22.5))) <= 1
    assert fault.volume_mm3 == 1.5 * 5 * 5 * 6


def test_an_image_without_tissue_has_no_findings(case: Any) -> None:
    assert list(find_outside_body(case.scene(), np.full_like(case.image, -1000))) == []
