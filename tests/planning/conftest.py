"""Small data sets on the disk: a bright ball and a long tube in noise."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (24, 28, 20)
Write = Callable[..., Path]


def make_case(seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return an image like an MR and a label: 1 a ball, 2 a thin tube."""
    rng = np.random.default_rng(seed)
    x, y, z = np.indices(SHAPE)
    ball = (x - 8 - seed % 3) ** 2 + (y - 9) ** 2 + (z - 10) ** 2 < 30
    tube = (np.abs(x - 18) < 2) & (np.abs(z - 10) < 2) & (y > 1)
    label = ball * 1 + tube * 2
    image = (100 + rng.normal(0, 8, SHAPE) + 60 * ball + 90 * tube) * scale
    return image.astype(np.float32), label.astype(np.uint8)


def write(path: Path, array: np.ndarray, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.2)) -> Path:
    """Write an array as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing_mm, 1.0])), path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder of six images and a folder of their labels; the last image has none."""
    for seed in range(6):
        image, label = make_case(seed, scale=1 + seed)
        write(tmp_path / "images" / f"p{seed}.nii.gz", image)
        if seed < 5:
            write(tmp_path / "labels" / f"p{seed}.nii.gz", label)
    return tmp_path / "images", tmp_path / "labels"
