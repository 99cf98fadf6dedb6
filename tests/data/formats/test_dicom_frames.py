"""Frames of files of one slice and of enhanced multi-frame objects."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lib.data.findings import InputRejected
from lib.data.formats import load
from lib.data.formats.dicom_frames import is_dicom, read_frames

Write = Callable[..., Path]
Make = Callable[..., np.ndarray]


def item(**tags: object) -> Dataset:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


@pytest.fixture
def multi_frame(dicom_series: Write, head: Make, tmp_path: Path) -> Path:
    """Two slices of a series as one enhanced object: upper frame first, each frame with its own rescale intercept."""
    upper, lower = (pydicom.dcmread(file) for file in sorted(dicom_series(head((12, 10, 2)) // 2 * 2).iterdir()))
    planes, shared = [], item(PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.8, 0.5])]))
    shared.PlaneOrientationSequence = Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    for number, (one, intercept) in enumerate([(upper, -1024), (lower, 1000)]):
        rescale = item(RescaleSlope="2", RescaleIntercept=str(intercept))
        position = item(ImagePositionPatient=one.ImagePositionPatient)
        content = item(StackID="1", InStackPositionNumber=2 - number, TemporalPositionIndex=1)
        groups = {"FrameContent": content, "PlanePosition": position, "PixelValueTransformation": rescale}
        planes.append(item(**{f"{name}Sequence": Sequence([group]) for name, group in groups.items()}))
    both = upper.PixelData + lower.PixelData
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(upper, name)
    upper.NumberOfFrames, upper.PixelData = 2, both
    upper.SharedFunctionalGroupsSequence, upper.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(planes)
    upper.save_as(tmp_path / "frames.dcm", write_like_original=False)
    return tmp_path / "frames.dcm"


def test_a_file_of_one_slice_is_one_frame(dicom_series: Write, head: Make) -> None:
    file = sorted(dicom_series(head((12, 10, 3))).iterdir())[0]
    (frame,) = read_frames(file)
    assert is_dicom(file) and frame.size == (12, 10) and (frame.index, frame.frames, frame.number) == (0, 1, 3)
    np.testing.assert_allclose(frame.geometry, [-10, 5, 34, 1, 0, 0, 0, 1, 0, 0.8, 0.5])
    assert frame.rescale == (2, -1024) and frame.has_spacing


def test_frames_of_a_multi_frame_object_have_their_own_tags(multi_frame: Path) -> None:
    upper, lower = read_frames(multi_frame)
    assert (upper.index, lower.index, upper.frames, upper.number, lower.number) == (0, 1, 2, 2, 1)
    np.testing.assert_allclose([upper.geometry[2], lower.geometry[2]], [32, 30])  # type: ignore[index]
    assert upper.rescale == (2, -1024) and lower.rescale == (2, 1000)
    assert upper.stack["StackID"] == "1" and upper.stack["TemporalPositionIndex"] == "1"


def test_voxels_of_frames_are_rescaled_one_by_one(multi_frame: Path, head: Make) -> None:
    expected = (head((12, 10, 2)) // 2 * 2).astype(np.float32)
    expected[..., 0] += 2024
    np.testing.assert_array_equal(load(multi_frame).voxels, expected)


def test_a_file_that_describes_fewer_frames_than_it_announces_is_refused(multi_frame: Path) -> None:
    dataset = pydicom.dcmread(multi_frame)
    dataset.PerFrameFunctionalGroupsSequence.pop()
    dataset.save_as(multi_frame)
    with pytest.raises(InputRejected, match="announces 2 frames and describes 1"):
        read_frames(multi_frame)
