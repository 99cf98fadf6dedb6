"""Further channels are found by name or by series, and read onto the voxels of the reference."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import generate_uid

from lib.data.cases import Case, find_cases
from lib.data.channels import ChannelSpec, build_channels, find_channels, further_patterns
from lib.data.files.tables import SpecError
from lib.data.findings import InputRejected
from lib.data.patches.case_cache import CaseCache, image_key
from lib.data.patches.dataset import PatchDataset
from lib.data.pipeline import ImageSpec, build_image_spec, open_image, read
from lib.data.volumes.save import write_volume

BLOCK = {"modality": "MR", "intensity": "zscore", "spacing_mm": [1.0, 1.0, 1.0], "roi": [8, 8, 4]}
T1, T2 = {"name": "t1"}, {"name": "t2", "match": "*_T2w.nii.gz"}


def spec(*channels: Mapping[str, object], **block: object) -> ImageSpec:
    return build_image_spec({**BLOCK, **block, "channels": list(channels)}, "image")


def write(path: Path, seed: int, shape: tuple[int, ...] = (12, 10, 6), spacing: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(values, np.diag([spacing, spacing, spacing, 1.0]), path)
    return values


def refusal(image: Path, wanted: ImageSpec) -> tuple[str, str]:
    with pytest.raises(InputRejected) as refused:
        read(image, wanted)
    return refused.value.findings[0].code, refused.value.findings[0].reason


@pytest.mark.parametrize(
    ("reference", "other", "names"),
    [
        ({"name": "t1"}, "*_T2w.nii.gz", ("p1.nii.gz", "p1_T2w.nii.gz")),
        ({"name": "t1", "match": "*_T1w.nii.gz"}, "*_T2w.nii.gz", ("s-1_T1w.nii.gz", "s-1_T2w.nii.gz")),
        ({"name": "t1", "match": "*_0000.nii.gz"}, "t2/*.nii.gz", ("c7_0000.nii.gz", "t2/c7.nii.gz")),
    ],
)
def test_channels_are_found_by_name(
    tmp_path: Path, reference: Mapping[str, object], other: str, names: tuple[str, str]
) -> None:
    first, second = (write(tmp_path / name, seed) for seed, name in enumerate(names))
    wanted = spec(reference, {"name": "t2", "match": other})
    reading = read(tmp_path / names[0], wanted)
    np.testing.assert_allclose(reading.intensities.numpy(), np.stack([first, second]), rtol=1e-6)
    both = reading.normalised()
    assert both.mean((1, 2, 3)).abs().max() < 0.02 and (both.std((1, 2, 3)) - 1).abs().max() < 0.02
    assert torch.equal(read(open_image(tmp_path / names[0], wanted), wanted).intensities, reading.intensities)
    listed = find_cases(tmp_path, channels=further_patterns(wanted.channels))
    assert [case.image.name for case in listed] == [names[0]]


def test_a_channel_lies_on_the_voxels_of_the_reference(tmp_path: Path) -> None:
    write(tmp_path / "p1.nii.gz", 0)
    marked = np.zeros((24, 20, 12), np.float32)
    marked[10:12, 8:10, 4:6] = 50
    write_volume(marked, np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1.0]]),
                 tmp_path / "p1_T2w.nii.gz")  # fmt: skip
    found = read(tmp_path / "p1.nii.gz", spec(T1, T2)).intensities[1]
    assert np.unravel_index(int(found.argmax()), found.shape) == (5, 4, 2)


def test_a_missing_channel_is_refused_unless_it_is_optional(tmp_path: Path) -> None:
    image = tmp_path / "p1.nii.gz"
    write(image, 0)
    code, reason = refusal(image, spec(T1, T2))
    assert code == "CHANNEL_MISSING" and "no file 'p1_T2w.nii.gz' beside it" in reason
    reading = read(image, spec(T1, {**T2, "optional": True}))
    assert [scale.missing for scale in reading.scales] == [False, True]
    both = reading.normalised()
    assert (both[1] == 0).all() and both[0].std() > 0.9


def test_a_channel_passes_the_gate(tmp_path: Path) -> None:
    write(tmp_path / "p1.nii.gz", 0)
    write_volume(np.zeros((12, 10, 6), np.float32), np.eye(4), tmp_path / "p1_T2w.nii.gz")
    with pytest.raises(InputRejected, match="All voxels have the value 0"):
        open_image(tmp_path / "p1.nii.gz", spec(T1, T2))


def test_each_channel_has_its_own_intensity(tmp_path: Path) -> None:
    write(tmp_path / "p1.nii.gz", 0)
    write(tmp_path / "p1_T2w.nii.gz", 1)
    wanted = spec(T1, {**T2, "intensity": "percentile"}, intensity="window", window=[0, 200], modality="any")
    first, second = read(tmp_path / "p1.nii.gz", wanted).scales
    assert (first.low, first.high) == (0, 200)
    assert 40 < second.low < 70 and 130 < second.high < 160


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([T1, {"name": "t2"}], "'t2' needs match"),
        ([T1, {**T2, "description": "T2*"}], "not both"),
        ([T1, {**T2, "match": "T2w.nii.gz"}], "needs one \\*"),
        ([T1, {**T2, "name": "t1"}], "two channels have this name"),
        ([{**T1, "optional": True}, T2], "cannot be optional"),
        ([T1, {**T2, "intensity": "unit"}], "intensity is 'unit'"),
        ([T1, {**T2, "intensity": "percentile"}], "all of them or none"),
        ([T1, {**T2, "modality": "T2"}], "modality is 'T2'"),
        ([T1, {**T2, "fold": 1}], "has no key fold"),
    ],
)
def test_a_wrong_declaration_is_refused(channels: Sequence[Mapping[str, object]], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(*channels)


def test_channels_take_tables() -> None:
    with pytest.raises(SpecError, match="takes a list of tables"):
        build_channels("t1", "image channels")


def series(folder: Path, examination: str, description: str, seed: int, slices: int = 4) -> Path:
    """Write an MR series."""
    folder.mkdir(parents=True)
    values = np.random.default_rng(seed).integers(0, 500, (slices, 16, 12)).astype(np.int16)
    uid = generate_uid()
    for k, plane in enumerate(values):
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SeriesDescription = examination, uid, description
        ds.PatientID, ds.Modality, ds.InstanceNumber = "P", "MR", k + 1
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 2.0 * k], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 2.0
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 1
        ds.PixelData = plane.tobytes()
        ds.is_little_endian, ds.is_implicit_VR = True, False
        ds.save_as(folder / f"{k}.dcm", write_like_original=False)
    return folder


BY_SERIES = ({"name": "t1", "description": "*T1*"}, {"name": "t2", "description": "t2 *", "modality": "MR"})


def test_channels_are_series_of_the_same_examination(tmp_path: Path) -> None:
    one, other = generate_uid(), generate_uid()
    reference = series(tmp_path / "a", one, "ax T1 tse", 0)
    second = series(tmp_path / "b", one, "T2 flair", 1)
    series(tmp_path / "c", other, "T2 flair", 2)
    wanted = spec(*BY_SERIES)
    assert find_channels(reference, wanted.channels) == (second,)
    reading = read(reference, wanted)
    assert torch.equal(reading.intensities[1], read(second, spec()).intensities[0])
    # A file that was converted from slices beside it belongs to their examination.
    image = tmp_path / "a.nii.gz"
    write(image, 0, (12, 16, 4))
    assert find_channels(image, wanted.channels) == (second,)
    assert refusal(second, wanted)[0] == "CHANNEL_REFERENCE"
    shutil.copytree(second, tmp_path / "d")
    assert refusal(reference, wanted)[0] == "CHANNEL_AMBIGUOUS"
    for name in ("b", "d"):
        shutil.rmtree(tmp_path / name)
    code, reason = refusal(reference, wanted)
    assert code == "CHANNEL_MISSING" and "no series described as 't2 *'" in reason


def labelled_case(folder: Path) -> Case:
    write(folder / "p1.nii.gz", 0)
    write(folder / "p1_T2w.nii.gz", 1)
    marks = np.zeros((12, 10, 6), np.uint8)
    marks[4:8, 4:8, 2:4] = 1
    write_volume(marks, np.eye(4), folder / "label.nii.gz")
    return Case("p1", folder / "p1.nii.gz", folder / "label.nii.gz", "p1")


def test_the_cache_depends_on_the_channels(tmp_path: Path) -> None:
    case, wanted = labelled_case(tmp_path), spec(T1, {**T2, "optional": True})
    cache = CaseCache(tmp_path / "cache", wanted)
    arrays = [cache.load(case, optional=False) for _ in range(2)]
    assert arrays[0].image.shape == (6, 2, 12, 10)
    np.testing.assert_array_equal(arrays[0].image, arrays[1].image)
    key = image_key(case.image, wanted)
    write(tmp_path / "p1_T2w.nii.gz", 2)
    changed = image_key(case.image, wanted)
    (tmp_path / "p1_T2w.nii.gz").unlink()
    assert len({key, changed, image_key(case.image, wanted), image_key(case.image, spec())}) == 4
    assert [scale.missing for scale in cache.load(case, optional=False).scales] == [False, True]


def test_training_leaves_optional_channels_out_of_some_patches(tmp_path: Path) -> None:
    case = labelled_case(tmp_path)
    optional = PatchDataset([case], spec(T1, {**T2, "optional": True}), classes=2, patches_per_epoch=100)
    empty = [bool((optional[i]["image"][1] == 0).all()) for i in range(100)]
    assert 8 <= sum(empty) <= 35
    assert all(optional[i]["image"][0].std() > 0 for i in range(100))
    always = PatchDataset([case], spec(T1, T2), classes=2, patches_per_epoch=20)
    assert all(always[i]["image"].shape == (2, 8, 8, 4) and always[i]["image"][1].std() > 0 for i in range(20))
    (tmp_path / "p1_T2w.nii.gz").unlink()
    lacking = PatchDataset([case], spec(T1, {**T2, "optional": True}), classes=2, patches_per_epoch=20)
    assert all((lacking[i]["image"][1] == 0).all() for i in range(20))


def test_the_reference_may_be_a_colour_photograph() -> None:
    wanted = spec(T1, T2, modality="RGB", intensity="percentile")
    assert (wanted.colours, wanted.channel_count) == (3, 4)
    assert wanted.mapping(3) == ("percentile", (0.0, 1.0))
    assert ChannelSpec("t1") == wanted.channels[0]


def test_specifications_without_channels_keep_their_keys() -> None:
    assert "channels" not in spec().legacy_fields() and "channels" in spec(T1, T2).legacy_fields()
