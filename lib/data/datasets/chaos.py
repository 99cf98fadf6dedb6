"""Convert the CHAOS challenge: abdominal MR series as DICOM slices, with a PNG of the organs for each slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib.data.formats import load
from lib.data.formats.dicom import read_slice
from lib.data.volumes.geometry import LPS_TO_RAS
from lib.data.volumes.save import write_volume

ORGANS = {"liver": (55, 70), "right kidney": (110, 135), "left kidney": (175, 200), "spleen": (240, 255)}
"""Organs with label values 1 to 4, and the range of grey values of each organ in the PNG."""
BRIGHT, LEVEL = 99.5, 1000
"""MR intensities have no unit: the percentile `BRIGHT` of a series is scaled to `LEVEL`."""


def convert(source: Path, out: Path) -> None:
    """Write the labelled series ``MR/PATIENT/T2SPIR`` as cases, with label values 1 to 4 in the order of `ORGANS`.

    Args:
        source: The folder ``Train_Sets``, or a folder that contains it.
        out: Output folder.
    Raises:
        FileNotFoundError: If there is no such series, or a slice has no PNG of the same name.
        InputRejected: If a series cannot be read.
    Source:
        Kavur et al. 2021, arXiv:2001.06535. The licence forbids commercial use, so the data are not included.
    """
    series = sorted(source.glob("**/MR/*/T2SPIR"))
    if not series:
        raise FileNotFoundError(f"there is no folder MR/PATIENT/T2SPIR in {source}")
    (out / "labels" / "final").mkdir(parents=True, exist_ok=True)
    for folder in series:
        volume = load(folder / "DICOM_anon")
        voxels = np.asarray(volume.voxels, np.float32)
        level = max(float(np.percentile(voxels, BRIGHT)), 1e-6)
        name = f"mr_{folder.parent.name}.nii.gz"
        write_volume(np.rint(voxels / level * LEVEL).astype(np.int16), volume.affine, out / name)
        label = _label(folder, voxels.shape, volume.affine)
        write_volume(label, volume.affine, out / "labels" / "final" / name)


def organ_values(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the label values of the organs for the grey values of a PNG, in the same shape."""
    label = np.zeros(grey.shape, np.uint8)
    for value, (low, high) in enumerate(ORGANS.values(), start=1):
        label[(grey >= low) & (grey <= high)] = value
    return label


def _label(folder: Path, shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the label of a series; each PNG is placed at the position of the DICOM slice with the same name."""
    label = np.zeros(shape, np.uint8)
    for path in sorted((folder / "DICOM_anon").glob("*.dcm")):
        picture = folder / "Ground" / f"{path.stem}.png"
        if not picture.is_file():
            raise FileNotFoundError(f"{path.name} has no PNG of the same name in {folder / 'Ground'}")
        geometry = read_slice(path).geometry
        assert geometry is not None, "the slices of a series that was loaded have positions"
        place = np.linalg.inv(affine) @ np.append(LPS_TO_RAS[:3, :3] @ geometry[:3], 1)
        label[..., round(float(place[2]))] = organ_values(np.asarray(Image.open(picture).convert("L"))).T
    return label
