"""A SEG written here is read back to the voxel: by this program, highdicom, pydicom-seg and dcmqi."""

import subprocess
import sys
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pydicom_seg
import pytest
import SimpleITK as sitk
from archive import ct_series

from lib.data.formats import load
from lib.data.formats.dicom import series_slices
from lib.data.volumes.segmentation import read_segmentation
from lib.data.volumes.segmentation_writer import Segment, build_segmentation
from tests.cases import real_data, write_cases

VALUES = {"tube": 1, "cavity": 4}
SEGMENTS = [
    Segment(1, "tube", description="an airway", rgb=(255, 0, 0)),
    Segment(4, "cavity", kind=("44567001", "SCT", "Trachea")),
]


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small series whose file names do not follow the order of the slices."""
    folder = tmp_path_factory.mktemp("series")
    image = nib.Nifti1Image(np.zeros((14, 11, 7), np.int16), np.diag([-1.5, -1.25, 2.0, 1.0]))
    nib.save(image, folder.parent / "ct.nii.gz")
    for number, instance in enumerate(ct_series(folder.parent / "ct.nii.gz", "P")):
        instance.save_as(folder / f"{(3 * number) % 7}.dcm", write_like_original=False)
    return folder


def random_label(shape: tuple[int, ...]) -> np.ndarray:
    label = np.random.default_rng(0).choice(np.array([0, 1, 4], np.uint8), shape, p=[0.8, 0.1, 0.1])
    label[..., 2] = 0  # a slice without a frame
    return label


def stored(slices: Path, tmp_path: Path) -> tuple[np.ndarray, Path]:
    """Return a label of a series, and the file of its SEG."""
    label = random_label(load(slices).voxels.shape)
    build_segmentation(label, slices, SEGMENTS, "a model").save_as(tmp_path / "seg.dcm", write_like_original=False)
    return label, tmp_path / "seg.dcm"


def test_this_program_reads_it(slices: Path, tmp_path: Path) -> None:
    label, file = stored(slices, tmp_path)
    seg = pydicom.dcmread(file)
    np.testing.assert_array_equal(read_segmentation(seg, slices, VALUES), label)
    assert seg.SeriesDescription == "a model" and seg.PatientID == "P"
    tube, cavity = seg.SegmentSequence
    assert tube.SegmentDescription == "an airway" and tube.RecommendedDisplayCIELabValue[0] == pytest.approx(
        34900, abs=500
    )
    assert cavity.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Trachea"


@pytest.mark.parametrize("kind", ["tilt", "localizer"])
def test_it_lies_on_the_slices_of_other_series(tmp_path: Path, kind: str) -> None:
    folder = write_cases("ct_series_faults", tmp_path / kind, kind)
    label, file = stored(folder, tmp_path)
    np.testing.assert_array_equal(read_segmentation(pydicom.dcmread(file), folder, VALUES), label)


def test_it_lies_on_the_frames_of_a_multi_frame_object(tmp_path: Path) -> None:
    folder = write_cases("enhanced_ct", tmp_path / "random", "random")
    (folder / "enhanced_random.dcm_truth.npy").unlink()
    label, file = stored(folder, tmp_path)
    np.testing.assert_array_equal(read_segmentation(pydicom.dcmread(file), folder, VALUES), label)


def test_a_marked_pixel_of_a_tilted_head_ct_is_in_the_frame_of_its_slice(tmp_path: Path) -> None:
    folder = real_data("gantry-tilt")
    slices = series_slices(folder)
    label = np.zeros((*slices[0].size, len(slices)), np.uint8)
    label[100, 400, 9] = 1
    seg = build_segmentation(label, folder, SEGMENTS[:1], "a model")
    (frame,) = seg.PerFrameFunctionalGroupsSequence
    assert slices[9].geometry is not None
    np.testing.assert_allclose(frame.PlanePositionSequence[0].ImagePositionPatient, slices[9].geometry[:3], atol=1e-4)
    source = frame.DerivationImageSequence[0].SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == slices[9].uid
    assert np.argwhere(seg.pixel_array.reshape(seg.Rows, seg.Columns)).tolist() == [[400, 100]]


def test_highdicom_reads_it(slices: Path, tmp_path: Path) -> None:
    label, file = stored(slices, tmp_path)
    read = hd.seg.segread(str(file))
    uids = [frame.uid for frame in series_slices(slices)]
    planes = read.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for number, segment in enumerate(SEGMENTS):
        np.testing.assert_array_equal(planes[..., number].transpose(2, 1, 0), label == segment.value)


def on_grid(image: sitk.Image, slices: Path) -> np.ndarray:
    """Return an image of another program at the voxels of the series."""
    volume = load(slices)
    reference = sitk.GetImageFromArray(np.zeros(volume.voxels.shape[::-1], np.uint8))
    affine = np.diag([-1, -1, 1, 1]) @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    reference.SetSpacing(spacing.tolist())
    reference.SetOrigin(affine[:3, 3].tolist())
    reference.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)).T


def test_pydicom_seg_reads_it(slices: Path, tmp_path: Path) -> None:
    label, file = stored(slices, tmp_path)
    read = pydicom_seg.SegmentReader().read(pydicom.dcmread(file))
    for number, segment in enumerate(SEGMENTS, start=1):
        np.testing.assert_array_equal(on_grid(read.segment_image(number), slices), label == segment.value)


def test_dcmqi_reads_it(slices: Path, tmp_path: Path) -> None:
    label, file = stored(slices, tmp_path)
    program = Path(sys.executable).parent / "segimage2itkimage"
    command = [str(program), "--inputDICOM", str(file), "--outputDirectory", str(tmp_path), "--outputType", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    for number, segment in enumerate(SEGMENTS, start=1):
        (found,) = tmp_path.glob(f"*{number}.nrrd")
        np.testing.assert_array_equal(on_grid(sitk.ReadImage(str(found)), slices) != 0, label == segment.value)
