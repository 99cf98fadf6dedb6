"""Pixels are decoded from compressed and plain files of any SOP class, and damaged files are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from lib.data.findings import InputRejected
from lib.data.scintigraphy.pixels import decode
from tests.data.scintigraphy.conftest import make_counts

Write = Callable[..., Path]
SHAPE = (2, 48, 24)


@pytest.mark.parametrize("signed", [0, 1])
def test_plain_pixels(scan_file: Write, signed: int) -> None:
    np.testing.assert_array_equal(decode(scan_file(PixelRepresentation=signed), SHAPE), make_counts())


def test_compressed_pixels_of_an_nm_image(scan_file: Write) -> None:
    path = scan_file()
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    np.testing.assert_array_equal(decode(path, SHAPE), make_counts())


def test_real_scan_with_lossless_jpeg(real_scan: Path) -> None:
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(real_scan)))
    np.testing.assert_array_equal(decode(real_scan, (1, 1024, 256)), expected)


@pytest.mark.parametrize("damage", ["cut", "other shape", "no JPEG"])
def test_damaged_pixels_are_refused(scan_file: Write, damage: str) -> None:
    path, shape = scan_file(), SHAPE
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "other shape":
        shape = (2, 48, 23)
    else:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = encapsulate([b"no codestream at all", b"none"])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.save_as(path)
    with pytest.raises(InputRejected, match="TRUNCATED"):
        decode(path, shape)
