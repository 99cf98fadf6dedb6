"""Memory is allocated only for voxels that the file can hold."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from lib.data.findings import InputRejected
from lib.data.formats import load, read_header
from lib.data.formats.claims import check_claim
from lib.data.formats.volume import Header


def header(path: Path, shape: tuple[int, ...]) -> Header:
    return Header(path, "nifti", shape, 1, 2, np.eye(4))


@pytest.mark.parametrize(("shape", "code"), [((10, 10), "TRUNCATED"), ((-10, 10), "NOT_AN_IMAGE")])
def test_header_that_announces_more_than_the_file_holds(tmp_path: Path, shape: tuple[int, ...], code: str) -> None:
    (tmp_path / "a").write_bytes(bytes(199))
    with pytest.raises(InputRejected, match=code):
        check_claim(header(tmp_path / "a", shape))


def test_header_that_announces_as_much_as_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(200))
    check_claim(header(tmp_path / "a", (10, 10)))
    check_claim(header(tmp_path / "a", (100, 100)), packed_ratio=100)
    check_claim(header(tmp_path, (10, 10)))  # the size of a folder is the sum of its files


@pytest.mark.parametrize("dims", [(32767, 32767, 32767), (-5, 4, 4), (0, 4, 4)])
def test_no_memory_is_allocated_for_a_header_without_voxels(tmp_path: Path, dims: tuple[int, int, int]) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[42:48] = np.array(dims, "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(bytes(data))
    with pytest.raises(InputRejected, match=r"TRUNCATED|NOT_AN_IMAGE"):
        load(tmp_path / "a.nii")


def test_deflated_file_is_refused(tmp_path: Path) -> None:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.dataset.FileDataset(str(tmp_path / "a.dcm"), {}, file_meta=meta, preamble=bytes(128))
    data.is_little_endian, data.is_implicit_VR, data.PatientName = True, False, "a" * 10_000
    data.save_as(tmp_path / "a.dcm", write_like_original=False)
    with pytest.raises(InputRejected, match="deflated"):
        read_header(tmp_path / "a.dcm")
