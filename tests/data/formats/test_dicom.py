"""DICOM slices are sorted by position, rescaled, and placed as ITK does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from lib.data.findings import InputRejected
from lib.data.formats import dicom, load, read_header
from lib.data.volumes.geometry import ras_from_itk

Write = Callable[..., Path]
Make = Callable[..., np.ndarray]


def test_series_is_sorted_rescaled_and_placed(dicom_series: Write, head: Make) -> None:
    voxels = head((12, 10, 6)) // 2 * 2  # the stored slope is 2
    volume = load(dicom_series(voxels))
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.affine @ [1, 1, 1, 1], [10 - 0.5, -5 - 0.8, 32, 1])


def test_itk_agrees_on_the_geometry(dicom_series: Write, head: Make) -> None:
    folder = dicom_series(head((12, 10, 6)))
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    expected = ras_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    np.testing.assert_allclose(load(folder).affine, expected, atol=1e-6)


def test_slices_in_downward_order_are_returned_upwards(dicom_series: Write, head: Make) -> None:
    voxels = head((12, 10, 6)) // 2 * 2
    volume = load(dicom_series(voxels, (0.0, 0.0, -2.0)))
    np.testing.assert_array_equal(volume.voxels, voxels[:, :, ::-1])
    assert volume.affine[2, 2] == 2


def test_one_file_is_one_slice(dicom_series: Write, head: Make) -> None:
    voxels = head((12, 10, 6)) // 2 * 2
    path = sorted(dicom_series(voxels).iterdir())[-1]
    np.testing.assert_array_equal(load(path).voxels, voxels[:, :, :1])
    np.testing.assert_array_equal(load(path.rename(path.with_suffix(""))).voxels, voxels[:, :, :1])


def test_patient_and_modality_are_read_from_the_header(dicom_series: Write, head: Make, tmp_path: Path) -> None:
    folder = dicom_series(head((12, 10, 6)))
    header = read_header(folder)
    assert (header.shape, header.modality, header.bytes_per_voxel) == ((12, 10, 6), "CT", 2)
    assert header.notes == () and header.origins is None
    assert dicom.patient_id(folder) == dicom.patient_id(next(folder.iterdir())) == "patient-7"
    (tmp_path / "note.txt").write_text("none")
    assert dicom.patient_id(tmp_path / "note.txt") is None and not dicom.is_dicom(folder)


def test_other_files_in_the_folder_are_ignored(dicom_series: Write, head: Make) -> None:
    folder = dicom_series(head((12, 10, 6)))
    (folder / "readme.txt").write_text("a note of the archive, long enough to hold a marker " * 10)
    assert load(folder).voxels.shape == (12, 10, 6)


def test_slices_of_two_sizes_are_refused(dicom_series: Write, head: Make) -> None:
    folder = dicom_series(head((12, 10, 6)))
    data = (folder / "001.dcm").read_bytes()
    (folder / "001.dcm").write_bytes(data.replace(b"US\x02\0\x0c\0", b"US\x02\0\x0b\0"))
    with pytest.raises(InputRejected, match="WRONG_DIMENSION"):
        read_header(folder)


def test_damaged_file_has_no_patient(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\0\0\0ZZ\xff\xff" * 4)
    assert dicom.patient_id(tmp_path) is None


def change(file: Path, **tags: object) -> None:
    instance = pydicom.dcmread(file)
    for name, value in tags.items():
        setattr(instance, name, value)
    instance.save_as(file)


def test_inverted_display_does_not_invert_hounsfield_units(dicom_series: Write, head: Make) -> None:
    """MONOCHROME1 says that high values are dark on a screen; a CT has the same values."""
    voxels = head((12, 10, 6)) // 2 * 2
    folder = dicom_series(voxels)
    for file in folder.iterdir():
        change(file, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(load(folder).voxels, voxels)
    np.testing.assert_array_equal(load(sorted(folder.iterdir())[-1]).voxels[..., 0], voxels[..., 0])


def test_slices_of_different_pixel_types_keep_their_values(dicom_series: Write, head: Make) -> None:
    voxels = np.clip(head((12, 10, 6)) // 2 * 2, 0, 400)
    folder = dicom_series(voxels)
    first = sorted(folder.iterdir())[-1]
    stored = pydicom.dcmread(first)
    slope, intercept = float(stored.RescaleSlope), float(stored.RescaleIntercept)
    pixels = np.zeros((10, 12), np.uint8)
    change(first, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, PixelData=pixels.tobytes())
    volume = load(folder)
    np.testing.assert_array_equal(volume.voxels[..., 1:], voxels[..., 1:])
    np.testing.assert_array_equal(volume.voxels[..., 0], np.full((12, 10), slope * 0 + intercept))


def test_inverted_pixels_that_cannot_be_decoded_are_refused(dicom_series: Write, head: Make) -> None:
    """Pixels of this kind are decoded by pydicom, whose errors are not those of ITK."""
    file = next(dicom_series(head((12, 10, 6))).iterdir())
    instance = pydicom.dcmread(file)
    instance.PhotometricInterpretation = "MONOCHROME1"
    instance.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    instance.PixelData = pydicom.encaps.encapsulate([b"no codestream"])
    instance["PixelData"].VR = "OB"
    instance.save_as(file)
    with pytest.raises(InputRejected, match="TRUNCATED"):
        load(file)


def test_slices_of_two_patients_are_refused_without_naming_them(dicom_series: Write, head: Make) -> None:
    folder = dicom_series(head((12, 10, 6)))
    path = sorted(folder.iterdir())[2]
    slice_ = pydicom.dcmread(path)
    slice_.PatientID = "another one"
    slice_.save_as(path)
    with pytest.raises(InputRejected, match="2 different PatientIDs") as caught:
        read_header(folder)
    assert caught.value.findings[0].code == "MANY_PATIENTS" and "another" not in str(caught.value)


def test_bits_above_those_stored_are_no_part_of_a_pixel(dicom_series: Write, head: Make) -> None:
    """Twelve signed bits in sixteen, the sign not extended, shown inverted: pydicom returns 4095 for -1."""
    folder = dicom_series(head((12, 10, 6)))
    for path in folder.iterdir():
        slice_ = pydicom.dcmread(path)
        slice_.PhotometricInterpretation, slice_.Modality = "MONOCHROME1", "MR"
        slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 12, 11, 1
        slice_.RescaleSlope, slice_.RescaleIntercept = 1, 0
        stored = np.arange(-60, 60, dtype=np.int16).reshape(10, 12)
        slice_.PixelData = (stored & 0x0FFF).astype(np.uint16).tobytes()
        slice_.save_as(path)
    np.testing.assert_array_equal(load(folder).voxels[..., 0], np.arange(-60, 60).reshape(10, 12).T)


def test_a_single_ct_without_a_position_is_refused(dicom_series: Write, head: Make, tmp_path: Path) -> None:
    slice_ = pydicom.dcmread(next(dicom_series(head((12, 10, 6))).iterdir()))
    del slice_.ImagePositionPatient
    slice_.save_as(tmp_path / "a.dcm")
    with pytest.raises(InputRejected, match="without position or orientation"):
        read_header(tmp_path / "a.dcm")
