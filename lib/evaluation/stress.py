"""Perturb a CT: noise, calibration shift and thick slices, which a clean test set does not contain.

`STRESSES` holds functions ``(hu, affine, seed) -> (hu, affine)``. Noise and shift do not change the grid. Thick slices
do; the prediction is then scored on the thick grid, against the reference from `resample_reference`, the majority of
the averaged slices.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

Hounsfield = npt.NDArray[np.integer] | npt.NDArray[np.floating]
Affine = npt.NDArray[np.floating]
Perturbed = tuple[npt.NDArray[np.float32], Affine]
Stress = Callable[[Hounsfield, Affine, int], Perturbed]


def add_noise(hu: Hounsfield, affine: Affine, seed: int, *, sd_hu: float) -> Perturbed:
    """Add white Gaussian noise, without clipping at the lowest value of the scanner.

    Args:
        hu: CT in HU, ``(X, Y, Z)``.
        affine: Voxel to RAS mm, ``(4, 4)``.
        seed: Seed of the noise.
        sd_hu: Standard deviation in HU.
    Returns:
        The noisy volume and the same affine.
    """
    noise = np.random.default_rng(seed).standard_normal(hu.shape, dtype=np.float32)
    return hu.astype(np.float32) + np.float32(sd_hu) * noise, affine


def shift(hu: Hounsfield, affine: Affine, seed: int, *, by_hu: float) -> Perturbed:
    """Shift every value, as an uncalibrated scanner does.

    Args:
        hu: CT in HU, ``(X, Y, Z)``.
        affine: Voxel to RAS mm, ``(4, 4)``.
        seed: Not used; a shift is not random.
        by_hu: Shift in HU.
    Returns:
        The shifted volume and the same affine.
    """
    return hu.astype(np.float32) + np.float32(by_hu), affine


def thicken(hu: Hounsfield, affine: Affine, seed: int, *, slice_mm: float) -> Perturbed:
    """Average groups of axial slices into slices of about `slice_mm`.

    A group has the nearest whole number of slices; incomplete groups at the top are dropped. A scan with slices of that
    thickness is returned unchanged.

    Args:
        hu: CT in HU, ``(X, Y, Z)``.
        affine: Voxel to RAS mm, ``(4, 4)``.
        seed: Not used; averaging is not random.
        slice_mm: Wanted slice thickness in mm.
    Returns:
        The thick volume, ``(X, Y, Z // group)``, and its affine.
    Raises:
        ValueError: If the volume has fewer slices than one group.
    """
    group = max(1, round(slice_mm / float(np.linalg.norm(affine[:3, 2]))))
    if hu.shape[2] < group:
        raise ValueError(f"the volume has {hu.shape[2]} slices, fewer than one group of {group}")
    thick = affine.astype(float)
    thick[:3, 3] += 0.5 * (group - 1) * thick[:3, 2]
    thick[:3, 2] *= group
    return _grouped(hu, group).mean(axis=-1, dtype=np.float32), thick


def resample_reference(label: npt.NDArray[np.uint8], affine: Affine, perturbed_affine: Affine) -> npt.NDArray[np.uint8]:
    """Resample a label to the grid of a perturbed volume: the most frequent value of each group of slices.

    If two values are equally frequent, the value of the middle slice is taken, then the smaller value. 255 (ignore) is
    counted as any other value.

    Args:
        label: Reference label, ``(X, Y, Z)``.
        affine: Voxel to RAS mm of `label`, ``(4, 4)``.
        perturbed_affine: Affine of the perturbed volume, ``(4, 4)``.
    Returns:
        Label on the perturbed grid; `label` itself if the grid did not change.
    """
    group = round(float(np.linalg.norm(perturbed_affine[:3, 2]) / np.linalg.norm(affine[:3, 2])))
    if group == 1:
        return label
    slices = _grouped(label, group)
    middle = slices[..., group // 2]
    values = np.unique(slices)
    winner, most = middle.copy(), np.full(middle.shape, -1, np.int16)
    for value in values:
        # Votes are doubled, so that the extra vote of the middle slice only decides a tie.
        votes = 2 * np.count_nonzero(slices == value, axis=-1) + (middle == value)
        winner[votes > most] = value
        most = np.maximum(most, votes)
    return winner


def _grouped(volume: npt.NDArray, group: int) -> npt.NDArray:
    count = volume.shape[2] // group
    return volume[:, :, : count * group].reshape(*volume.shape[:2], count, group)


STRESSES: dict[str, Stress] = {
    "noise_sd_120": partial(add_noise, sd_hu=120.0),
    "noise_sd_250": partial(add_noise, sd_hu=250.0),
    "hu_plus_150": partial(shift, by_hu=150.0),
    "hu_minus_150": partial(shift, by_hu=-150.0),
    "slices_4_5_mm": partial(thicken, slice_mm=4.5),
}
