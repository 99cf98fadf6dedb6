"""Segment a CT by thresholds: the body, its hull, the airway of an unlabelled CT, and simple baselines.

On a clean scan a threshold finds the whole airway without a network, so a report gives these baselines beside the Dice
of a model. The lengths of opening and closing are 2 and 8 iterations on pixels of 0.957 mm; on other grids the number
of iterations follows the spacing.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.evaluation.metrics.topology import largest_component

Mask = npt.NDArray[np.bool_]
Hounsfield = npt.NDArray[np.integer] | npt.NDArray[np.floating]

TISSUE_HU = -300
AIR_HU = -350
OPENING_MM = 2 * 0.957
CLOSING_MM = 8 * 0.957

_FACES = ndimage.generate_binary_structure(3, 1)
_CROSS = ndimage.generate_binary_structure(2, 1)


def body(hu: Hounsfield, spacing_mm: Sequence[float]) -> Mask:
    """Return the tissue of the body: the largest component above `TISSUE_HU`, after an opening that cuts thin bridges.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``, in which the airways are holes.
    Raises:
        ValueError: If `hu` is not a volume or `spacing_mm` does not have three entries.
    """
    if hu.ndim != 3 or len(spacing_mm) != 3:
        raise ValueError(f"expected a 3-D volume and three spacings, got {hu.shape} and {tuple(spacing_mm)}")
    opened = ndimage.binary_opening(hu > TISSUE_HU, _FACES, iterations=_iterations(OPENING_MM, spacing_mm))
    return largest_component(np.asarray(opened, bool), connectivity=6)


def hull(hu: Hounsfield, spacing_mm: Sequence[float]) -> Mask:
    """Return the inside of the body with the airways, one voxel within the skin.

    A closing joins nostrils and mouth in each axial slice, and the holes of the slice are filled. The volume is then
    eroded once, except at its border.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``.
    Raises:
        ValueError: If `hu` is not a volume or `spacing_mm` does not have three entries.
    """
    return _filled(body(hu, spacing_mm), closing=_iterations(CLOSING_MM, spacing_mm))


def reference_airway(hu: Hounsfield, spacing_mm: Sequence[float]) -> Mask:
    """Return the airway as the largest component (6-neighbourhood) of air inside the hull.

    The mask follows the lumen well on a clean head CT. It does not separate nasal cavity and sinuses, and does not
    replace a label drawn by hand.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``.
    Raises:
        ValueError: If `hu` is not a volume or `spacing_mm` does not have three entries.
    """
    return largest_component((hu < AIR_HU) & hull(hu, spacing_mm), connectivity=6)


def fill_rule(hu: Hounsfield, spacing_mm: Sequence[float]) -> Mask:
    """Return the simple baseline: all components of air inside the body, filled slice by slice.

    Without a closing, a slice whose lumen is open to the outside loses that lumen. `largest_component` of the result
    (6-neighbourhood) is the second baseline.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``.
    Raises:
        ValueError: If `hu` is not a volume or `spacing_mm` does not have three entries.
    """
    return (hu < AIR_HU) & _filled(body(hu, spacing_mm), closing=0)


def _filled(tissue: Mask, closing: int) -> Mask:
    filled = np.empty_like(tissue)
    for index in range(tissue.shape[2]):
        plane = tissue[:, :, index]
        if closing:
            plane = ndimage.binary_closing(plane, _CROSS, iterations=closing)
        filled[:, :, index] = ndimage.binary_fill_holes(plane)
    return np.asarray(ndimage.binary_erosion(filled, _FACES, border_value=1), bool)


def _iterations(length_mm: float, spacing_mm: Sequence[float]) -> int:
    return max(1, round(length_mm / (0.5 * (spacing_mm[0] + spacing_mm[1]))))
