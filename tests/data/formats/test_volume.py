"""Shape and size are known from the header before voxels are loaded."""

from pathlib import Path

import numpy as np
import pytest

from lib.data.formats import stem
from lib.data.formats.volume import Header


@pytest.mark.parametrize(
    ("shape", "spatial"),
    [((4, 5), (4, 5)), ((4, 5, 1), (4, 5, 1)), ((4, 5, 6, 1, 1), (4, 5, 6)), ((4, 5, 6, 1, 3), (4, 5, 6, 1, 3))],
)
def test_spatial_shape_drops_trailing_singletons(shape: tuple[int, ...], spatial: tuple[int, ...]) -> None:
    assert Header(Path("a"), "nifti", shape, 1, 2, np.eye(4)).spatial_shape == spatial


def test_size_in_gib() -> None:
    assert Header(Path("a"), "nifti", (1024, 1024, 512), 1, 2, np.eye(4)).size_gib == 1.0


def test_size_of_a_huge_header_does_not_overflow() -> None:
    assert Header(Path("a"), "itk", (2**31, 2**31, 2**31), 1, 8, np.eye(4)).size_gib > 1e18


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.nii.gz", "a"), ("a.b.nrrd", "a.b"), ("A.NII", "A"), ("series", "series"), ("x.dcm", "x"), ("x.txt", "x.txt")],
)
def test_stem_removes_only_image_suffixes(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected
