"""A restored scan as derived DICOM: its tags, its patient and its counts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lib.data.scintigraphy.counts import read_counts
from lib.data.scintigraphy.derived import NOTICE, whole_counts, write_derived
from tests.data.scintigraphy.conftest import make_counts

Write = Callable[..., Path]
RNG = np.random.default_rng(0)


def test_whole_counts_by_hand() -> None:
    """Running sums 0.4, 0.8, 1.2, 1.6, 2.0 are rounded to 0, 1, 1, 2, 2."""
    assert whole_counts(np.full((1, 1, 5), 0.4)).tolist() == [[[0, 1, 0, 1, 0]]]


def test_each_part_of_a_row_keeps_its_counts() -> None:
    expected = RNG.gamma(1.0, 3.0, (2, 40, 30))
    stored = whole_counts(expected)
    assert stored.sum() == pytest.approx(expected.sum(), abs=0.5)
    for start, end in ((0, 30), (4, 11), (20, 21)):
        apart = stored[..., start:end].sum(-1) - expected[..., start:end].sum(-1)
        assert np.abs(apart).max() <= 1
    np.testing.assert_array_equal(whole_counts(make_counts().astype(float)), make_counts())


@pytest.mark.parametrize("value", [-1.0, np.nan, 1e6])
def test_counts_that_a_pixel_cannot_store_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected counts"):
        whole_counts(np.array([[[1.0, value]]]))


@pytest.fixture
def derived(scan_file: Write, tmp_path: Path) -> tuple[pydicom.Dataset, pydicom.Dataset, Path]:
    """The source, the derived image, and the file of the derived image."""
    source = scan_file(make_counts(), WindowCenter=50, WindowWidth=100)
    expected = 2 * make_counts(seed=1) + 0.3
    path = write_derived(source, expected, tmp_path / "out" / "d.dcm", description="restored from half", software="x 1")
    return pydicom.dcmread(source), pydicom.dcmread(path), path


def test_derived_image_has_new_uids_in_the_same_study(derived) -> None:
    source, image, _ = derived
    assert image.SOPInstanceUID != source.SOPInstanceUID and image.SeriesInstanceUID != source.SeriesInstanceUID
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
    assert (image.SOPClassUID, image.StudyInstanceUID) == (source.SOPClassUID, source.StudyInstanceUID)
    assert (image.PatientID, image.PixelSpacing) == (source.PatientID, source.PixelSpacing)


def test_derived_image_names_its_processing_source_and_software(derived) -> None:
    source, image, _ = derived
    assert list(image.ImageType) == ["DERIVED", "SECONDARY", "WHOLE BODY", "EMISSION"]
    assert image.DerivationDescription.startswith("restored from half") and NOTICE in image.DerivationDescription
    assert image.ImageComments == NOTICE and image.SeriesDescription == "WB bone, restored"
    (reference,) = image.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    (equipment,) = image.ContributingEquipmentSequence
    assert (equipment.Manufacturer, equipment.SoftwareVersions) == ("TopoLabel", "x 1")
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109103"


def test_tags_that_apply_only_to_the_source_are_removed(derived) -> None:
    _, image, _ = derived
    assert not any(element.tag.is_private for element in image)
    assert "WindowCenter" not in image and "LargestImagePixelValue" not in image


def test_stored_counts_are_the_rounded_counts(derived) -> None:
    _, image, path = derived
    expected = whole_counts(2 * make_counts(seed=1) + 0.3)
    np.testing.assert_array_equal(read_counts(path).counts, expected)
    assert image.CountsAccumulated == expected.sum(dtype=int)
    assert read_counts(path).views == ("anterior", "posterior")


def test_another_shape_is_refused_and_no_file_is_written(scan_file: Write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape"):
        write_derived(scan_file(), np.ones((1, 48, 24)), tmp_path / "d.dcm", description="", software="")
    assert not (tmp_path / "d.dcm").exists()


def test_real_scan_with_another_sop_class_and_transfer_syntax(real_scan: Path, tmp_path: Path) -> None:
    counts = read_counts(real_scan).counts
    path = write_derived(real_scan, counts, tmp_path / "d.dcm", description="unchanged", software="x")
    np.testing.assert_array_equal(read_counts(path).counts, counts)
    assert list(pydicom.dcmread(path).ImageType) == ["DERIVED", "SECONDARY", "WHOLE BODY", "EMISSION"]
