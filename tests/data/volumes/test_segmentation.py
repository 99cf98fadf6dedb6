"""Read DICOM SEGs of other programs: overlapping, fractional, with other names, or of other slices."""

import copy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from archive import ct_series
from highdicom.seg import SegmentationTypeValues
from pydicom.dataset import Dataset

from lib.data.findings import InputRejected
from lib.data.volumes.segmentation import read_segmentation
from tests.segmentations import segmentation

VALUES = {"tube": 1, "cavity": 2}
SHAPE = (12, 10, 8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """A CT as the instances of a series."""
    file = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    affine = np.diag([-1.5, -1.5, 2.0, 1.0])
    nib.save(nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), affine), file)
    return ct_series(file, "P")


@pytest.fixture(scope="module")
def slices(source: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The series as files whose names do not follow the order of the slices."""
    folder = tmp_path_factory.mktemp("series")
    for number, instance in enumerate(source):
        instance.save_as(folder / f"{(7 * number) % len(source)}.dcm", write_like_original=False)
    return folder


def planes(*masks: tuple[slice, slice, slice]) -> np.ndarray:
    """Return masks ``(X, Y, Z)`` as planes of a SEG."""
    array = np.zeros((*SHAPE, len(masks)), np.uint8)
    for number, where in enumerate(masks):
        array[(*where, number)] = 1
    return array.transpose(2, 1, 0, 3)


TUBE, CAVITY = (slice(2, 6), slice(1, 5), slice(3, 6)), (slice(5, 9), slice(4, 8), slice(5, 7))


def test_segments_are_matched_by_name(source: list[Dataset], slices: Path) -> None:
    beside = (slice(6, 9), *CAVITY[1:])
    label = read_segmentation(segmentation(source, planes(beside, TUBE), ["CAVITY", "tube"]), slices, VALUES)
    expected = np.zeros(SHAPE, np.uint8)
    expected[beside], expected[TUBE] = 2, 1
    assert np.array_equal(label, expected) and label.dtype == np.uint8


def test_segments_that_share_voxels_are_refused(source: list[Dataset], slices: Path) -> None:
    seg = segmentation(source, planes(CAVITY, TUBE), ["CAVITY", "tube"])
    with pytest.raises(
        InputRejected, match=r"'cavity' and 'tube' share 1 voxels, the first at voxel \(5, 4, 5\)"
    ) as it:
        read_segmentation(seg, slices, VALUES)
    assert it.value.findings[0].code == "LABEL_OVERLAP"


def test_axes_are_those_of_the_series_read_by_itk(source: list[Dataset], slices: Path) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(slices)))
    image = sitk.GetArrayFromImage(reader.Execute()).transpose(2, 1, 0)
    label = read_segmentation(segmentation(source, planes(TUBE), ["tube"]), slices, VALUES)
    stored = {instance.SOPInstanceUID: instance.pixel_array for instance in source}
    stack = np.stack(list(stored.values()), -1).transpose(1, 0, 2)
    assert set(image[label == 1]) == set(stack[TUBE].ravel()), "the segmented voxels"


def test_fractional_segment_covers_voxels_of_at_least_half(source: list[Dataset], slices: Path) -> None:
    share = planes(TUBE).astype(np.float32)
    share[4] *= 0.25
    seg = segmentation(source, share, ["tube"], SegmentationTypeValues.FRACTIONAL)
    label = read_segmentation(seg, slices, VALUES)
    expected = np.zeros(SHAPE, np.uint8)
    expected[TUBE] = 1
    expected[..., 4] = 0
    assert np.array_equal(label, expected)


def test_segments_with_other_names_are_refused(source: list[Dataset], slices: Path) -> None:
    """Left out, their voxels would be taught as background."""
    with pytest.raises(InputRejected, match=r"LABEL_NAMES.*voxels of liver"):
        read_segmentation(segmentation(source, planes(CAVITY, TUBE), ["liver", "tube"]), slices, VALUES)
    with pytest.raises(InputRejected, match=r"LABEL_NAMES.*liver"):
        read_segmentation(segmentation(source, planes(CAVITY), ["liver"]), slices, VALUES)


def test_an_empty_segment_may_have_any_name(source: list[Dataset], slices: Path) -> None:
    seg = segmentation(source, planes(TUBE), ["tube"])
    extra = copy.deepcopy(seg.SegmentSequence[0])
    extra.SegmentNumber, extra.SegmentLabel = 2, "liver"
    seg.SegmentSequence.append(extra)
    assert set(np.unique(read_segmentation(seg, slices, VALUES))) == {0, 1}


@pytest.mark.parametrize("name", ["Nasal cavity", "nasal-cavity", " NASAL_CAVITY "])
def test_case_blanks_and_hyphens_of_a_name_do_not_matter(source: list[Dataset], slices: Path, name: str) -> None:
    label = read_segmentation(segmentation(source, planes(TUBE), [name]), slices, {"nasal_cavity": 4})
    assert set(np.unique(label)) == {0, 4}


def test_seg_of_other_slices_is_refused(source: list[Dataset], slices: Path, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / "other.nii.gz")
    other = ct_series(tmp_path / "other.nii.gz", "Q")
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        read_segmentation(segmentation(other, planes(TUBE), ["tube"]), slices, VALUES)


def test_file_that_is_not_a_seg_is_refused(source: list[Dataset], slices: Path) -> None:
    with pytest.raises(InputRejected, match="BAD_SEG"):
        read_segmentation(source[0], slices, VALUES)
