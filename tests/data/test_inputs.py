"""Every handed image: right to the voxel, or refused with code, reason and remedy."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from lib.data.findings import InputRejected
from lib.data.modality import ANY
from lib.data.pipeline import ImageSpec, read
from lib.data.validate import check
from lib.data.volumes.segmentation import read_segmentation
from tests.cases import real_data, write_cases

RIGHT = ""
SERIES = {
    "plain": RIGHT,
    "tilt": RIGHT,
    "gap": "MISSING_SLICES",
    "dup": "DOUBLED_SLICES",
    "localizer": RIGHT,
    "zero_byte": "UNREADABLE_FILES",
    "no_preamble": "UNREADABLE_FILES",
    "raw_padding": "HU_IMPLAUSIBLE",
    "phases": "MANY_PHASES",
    "one_no_spacing": "BAD_AFFINE",
}
ENHANCED = {"up": RIGHT, "down": RIGHT, "random": RIGHT, "gap": "MISSING_SLICES", "tilt": RIGHT, "stacks": RIGHT}
NIFTI = {
    "both_same": RIGHT,
    "codes_zero": "AMBIGUOUS_AFFINE",
    "sform_shifted": "AMBIGUOUS_AFFINE",
    "qform_only_rot": RIGHT,
    "sform_flip": "AMBIGUOUS_AFFINE",
    "one_time_point": RIGHT,
    "mislabelled_gz": RIGHT,
    "scl_nan": RIGHT,
    "scl_set": "NOT_AN_IMAGE",
    "float64": RIGHT,
    "uint16_inter": RIGHT,
    "units_metre": "AMBIGUOUS_AFFINE",
    "five_d": RIGHT,
    "axes_xz": RIGHT,
    "big_endian": RIGHT,
    "two_time_points": "WRONG_DIMENSION",
    "int64": RIGHT,
}
ODDITIES = {
    "5D_small.nii": "WRONG_DIMENSION",
    "5D_zeros.nii.gz": "WRONG_DIMENSION",
    "air.hdr.gz": "NOT_AN_IMAGE",
    "air.img.gz": "NOT_AN_IMAGE",
    "air2.hdr.gz": "NOT_AN_IMAGE",
    "air2.img.gz": "NOT_AN_IMAGE",
    "avg152T1_LR_nifti.nii": RIGHT,
    "avg152T1_LR_nifti.nii.gz": RIGHT,
    "avg152T1_LR_nifti2.nii.gz": RIGHT,
    "big.nii.gz": RIGHT,
    "little.nii.gz": RIGHT,
    "not-nifti.nii": "NOT_AN_IMAGE",
    "with_extension.nii.gz": RIGHT,
}


def outcome(path: Path, expected: str, modality: str = "CT") -> np.ndarray | None:
    """Return the voxels of an image that is read, None of one that is refused as expected."""
    try:
        voxels = check(path, modality=modality).voxels
    except InputRejected as error:
        finding = error.findings[0]
        assert finding.code == expected and len(finding.reason) > 20 and len(finding.remedy) > 10, error
        return None
    assert expected == RIGHT, f"{path.name} should be refused: {expected}"
    return voxels


@pytest.mark.parametrize(("kind", "expected"), SERIES.items())
def test_series(tmp_path: Path, kind: str, expected: str) -> None:
    folder = write_cases("ct_series_faults", tmp_path / kind, kind)
    voxels = outcome(folder, expected)
    if voxels is not None:
        np.testing.assert_array_equal(voxels, np.load(tmp_path / f"{kind}_truth.npy"))


@pytest.mark.parametrize(("kind", "expected"), ENHANCED.items())
@pytest.mark.parametrize("way", ["file", "folder"])
def test_multi_frame_series(tmp_path: Path, kind: str, expected: str, way: str) -> None:
    file = write_cases("enhanced_ct", tmp_path / kind, kind) / f"enhanced_{kind}.dcm"
    truth = np.load(f"{file}_truth.npy")
    Path(f"{file}_truth.npy").rename(tmp_path / "truth.npy")
    voxels = outcome(file if way == "file" else file.parent, expected)
    if voxels is not None:
        np.testing.assert_array_equal(voxels, truth)


@pytest.mark.parametrize(("kind", "expected"), NIFTI.items())
def test_nifti_headers(tmp_path: Path, kind: str, expected: str) -> None:
    write_cases("nifti_headers", tmp_path, "both_same")
    write_cases("nifti_headers", tmp_path, kind)
    (file,) = tmp_path.glob(f"{kind}.nii*")
    voxels = outcome(file, expected)
    if voxels is not None:
        # The script writes the voxels of this kind two voxels behind the place that its header names.
        truth = nib.load(file if kind == "uint16_inter" else tmp_path / "both_same.nii")
        np.testing.assert_array_equal(voxels.reshape(truth.shape), np.asarray(truth.dataobj))


@pytest.mark.parametrize(("name", "expected"), ODDITIES.items())
def test_nifti_oddities(name: str, expected: str) -> None:
    path = real_data("nifti-oddities") / name
    voxels = outcome(path, expected, modality=ANY)
    if voxels is not None:
        np.testing.assert_allclose(voxels, np.squeeze(np.asarray(nib.load(path).dataobj)), rtol=1e-6)


def slow_volume(folder: Path) -> tuple[np.ndarray, list[pydicom.Dataset]]:
    """Return rescaled pixels ``(X, Y, Z)`` and files of a series, placed one by one by their tags."""
    files = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
    cosines = np.array(files[0].ImageOrientationPatient, float)
    normal = np.cross(cosines[:3], cosines[3:])
    files.sort(key=lambda file: float(np.array(file.ImagePositionPatient, float) @ normal))
    planes = [file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept) for file in files]
    return np.stack(planes).transpose(2, 1, 0), files


@pytest.mark.parametrize("name", ["gantry-tilt", "lung-pet-ct-dx", "dcmqi/ct-3slice"])
def test_real_series(name: str) -> None:
    folder = real_data(name)
    voxels = outcome(folder, RIGHT)
    np.testing.assert_array_equal(voxels, slow_volume(folder)[0])


def test_a_point_in_a_tilted_head_ct_keeps_its_place_on_the_network_s_grid() -> None:
    """Marked voxels are found at their positions in mm, and a label of them comes back to the voxel and the slice."""
    folder = real_data("gantry-tilt")
    volume = check(folder)
    assert "tilted by 18.5 degrees" in volume.notes[0] and "1.08 to 7.00 mm apart" in volume.notes[1]
    reading = read(volume, ImageSpec((1.0, 1.0, 1.5), (-1000, 400), (64, 64)))
    files = slow_volume(folder)[1]
    for ijk in ((256, 256, 0), (100, 400, 9), (300, 120, 14), (256, 300, 27)):
        tags = files[ijk[2]]
        position, cosines = np.array(tags.ImagePositionPatient, float), np.array(tags.ImageOrientationPatient, float)
        rows_mm, columns_mm = map(float, tags.PixelSpacing)
        lps = position + cosines[:3] * columns_mm * ijk[0] + cosines[3:] * rows_mm * ijk[1]
        (xyz,) = reading.points_to_grid([ijk])
        np.testing.assert_allclose((reading.affine @ [*xyz, 1])[:3], lps * [-1, -1, 1], atol=1e-3)
        np.testing.assert_allclose(reading.points_to_source([xyz])[0], ijk, atol=1e-6)
    marks = np.zeros(reading.source_shape, np.uint8)
    marks[200:208, 300:308, 12] = 1
    assert reading.straight is not None
    np.testing.assert_array_equal(reading.straight.to_slices(reading.straight.label(marks)), marks)


@pytest.mark.parametrize("name", ["23x38x3", "24x38x3"])
def test_multi_frame_and_single_files_of_one_series_are_one_image(name: str) -> None:
    single, frames = (check(real_data(f"dcmqi/{name}/{way}"), modality=ANY) for way in ("image", "multiframe"))
    np.testing.assert_array_equal(single.voxels, frames.voxels)
    np.testing.assert_allclose(single.affine, frames.affine)


def test_slicer_s_chest_ct() -> None:
    path = real_data("slicerio/CTChest4.nrrd")
    np.testing.assert_array_equal(outcome(path, RIGHT), sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T)


@pytest.mark.parametrize("kind", ["LABELMAP", "BINARY"])
def test_segmentations(tmp_path: Path, kind: str) -> None:
    folder = write_cases("labelmap_seg", tmp_path / kind, kind)
    seg = pydicom.dcmread((folder / "seg.dcm").rename(tmp_path / "seg.dcm"))
    label = read_segmentation(seg, folder, {"trachea": 5})
    np.testing.assert_array_equal(label, np.load(tmp_path / f"{kind}_truth.npy") * 5)


def test_segmentation_of_another_organ(tmp_path: Path) -> None:
    folder = write_cases("labelmap_seg", tmp_path / "x", "OTHER_ORGAN")
    seg = pydicom.dcmread((folder / "seg.dcm").rename(tmp_path / "seg.dcm"))
    with pytest.raises(InputRejected, match=r"LABEL_NAMES.*Liver"):
        read_segmentation(seg, folder, {"trachea": 5})


@pytest.mark.parametrize(
    ("seg", "series", "reference"),
    [
        ("23x38x3/seg/label.seg", "23x38x3/image", "23x38x3/nrrd/label.nrrd"),
        ("24x38x3/seg/label.seg", "24x38x3/image", "24x38x3/nrrd/label.nrrd"),
        ("liver.dcm", "ct-3slice", "liver_seg.nrrd"),
        ("sparse-labelmap-noppv.dcm", "24x38x3/image", "sparse_labelmap_noppv_seg.nrrd"),
        ("sparse-labelmap-ppv5.dcm", "24x38x3/image", "sparse_labelmap_ppv5_seg.nrrd"),
    ],
)
def test_segmentations_of_dcmqi(seg: str, series: str, reference: str) -> None:
    label = read_segmentation(pydicom.dcmread(real_data(f"dcmqi/{seg}")), real_data(f"dcmqi/{series}"), {"Liver": 1})
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(real_data(f"dcmqi/{reference}")))).T
    np.testing.assert_array_equal(label, expected == 1)


def test_overlapping_segments_of_dcmqi() -> None:
    seg = pydicom.dcmread(real_data("dcmqi/partial_overlaps.dcm"))
    names = {item.SegmentLabel: int(item.SegmentNumber) for item in seg.SegmentSequence}
    with pytest.raises(InputRejected, match="LABEL_OVERLAP"):
        read_segmentation(seg, real_data("dcmqi/ct-3slice"), names)


def test_a_segmentation_is_no_image() -> None:
    outcome(real_data("dcmqi/liver.dcm"), "UNKNOWN_MODALITY")
