"""What plain thresholds reach: the body, its hull, the reference airway of an unlabelled CT, and the simple baselines.

On a clean scan one label "airway" needs no network, so these stand beside every such figure. Lengths are the ones of
the recipe on its 0.957 mm pixels (2 and 8 iterations); on other grids the iterations follow the spacing.
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
    """Return the tissue of the body: the largest component of what is denser than air, thin bridges opened.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``, with the airways as holes.
    Raises:
        ValueError: If `hu` is not a volume or the spacing has not three entries.
    """
    if hu.ndim != 3 or len(spacing_mm) != 3:
        raise ValueError(f"a volume and three spacings are needed, not {hu.shape} and {tuple(spacing_mm)}")
    opened = ndimage.binary_opening(hu > TISSUE_HU, _FACES, iterations=_iterations(OPENING_MM, spacing_mm))
    return largest_component(np.asarray(opened, bool), connectivity=6)


def hull(hu: Hounsfield, spacing_mm: Sequence[float]) -> Mask:
    """Return the inside of the body, airways included, one voxel within the skin.

    Each axial slice of the body is closed (nostrils, mouth) and its holes are filled; the volume is then eroded once,
    its border kept.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``.
    Raises:
        ValueError: If `hu` is not a volume or the spacing has not three entries.
    """
    return _filled(body(hu, spacing_mm), closing=_iterations(CLOSING_MM, spacing_mm))


def reference_airway(hu: Hounsfield, spacing_mm: Sequence[float]) -> Mask:
    """Return the airway as the largest component (6-neighbourhood) of air inside the hull.

    Follows the lumen well on a clean head CT; it does not part nasal cavity from sinuses and is no hand-made label.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``.
    Raises:
        ValueError: If `hu` is not a volume or the spacing has not three entries.
    """
    return largest_component((hu < AIR_HU) & hull(hu, spacing_mm), connectivity=6)


def fill_rule(hu: Hounsfield, spacing_mm: Sequence[float]) -> Mask:
    """Return the simple baseline: air inside the slice-wise filled body, every component.

    Nothing bridges an opening to the outside, so a slice whose lumen meets the room loses it. `largest_component` of
    the result (6-neighbourhood) is the second baseline.

    Args:
        hu: CT in HU, ``(X, Y, Z)``, RAS.
        spacing_mm: Voxel spacing per axis, in mm.
    Returns:
        Boolean mask, ``(X, Y, Z)``.
    Raises:
        ValueError: If `hu` is not a volume or the spacing has not three entries.
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
