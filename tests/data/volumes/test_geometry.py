"""Positions are the same in RAS and in LPS."""

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.volumes.geometry import LPS_TO_RAS, itk_from_ras, ras_from_itk


@pytest.mark.parametrize("seed", range(4))
def test_world_positions_agree_with_itk(random_affine: Callable[..., np.ndarray], seed: int) -> None:
    affine = random_affine(seed)
    spacing_mm, origin_mm, direction = itk_from_ras(affine, 3)
    image = sitk.Image(4, 5, 6, sitk.sitkUInt8)
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin_mm)
    image.SetDirection(direction)
    lps = np.array([*image.TransformIndexToPhysicalPoint((1, 2, 3)), 1.0])
    np.testing.assert_allclose(LPS_TO_RAS @ lps, affine @ [1, 2, 3, 1], atol=1e-6)
    back = ras_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    np.testing.assert_allclose(back, affine, atol=1e-6)
