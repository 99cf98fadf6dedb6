"""One file for each finding, and unusual but usable scans that must be accepted."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lib.data import formats, validate
from lib.data.findings import InputRejected
from lib.data.formats import Volume
from lib.data.modality import ANY
from lib.data.validate import check, inspect

Write = Callable[..., Path]
Make = Callable[..., np.ndarray]


def codes(source: object, **options: object) -> list[str]:
    found = inspect(source, **options)  # type: ignore[arg-type]
    for finding in found:
        assert finding.reason.endswith(".") and finding.remedy.endswith("."), finding
    return [finding.code for finding in found]


class TestPasses:
    @pytest.mark.parametrize("offset", [-150, 0, 150])
    @pytest.mark.parametrize("noise", [0, 250])
    @pytest.mark.parametrize("shape", [(24, 28, 20), (40, 44), (40, 44, 1)])
    def test_noisy_and_shifted_ct(self, head: Make, offset: int, noise: int, shape: tuple[int, ...]) -> None:
        assert codes(head(shape, noise_hu=noise) + np.int16(offset)) == []

    def test_padded_ct(self, head: Make) -> None:
        hu = np.full((40, 44, 20), -3024, np.int16)
        hu[8:32, 8:36] = head()
        assert codes(hu) == []

    def test_clipped_and_cropped_ct(self, head: Make) -> None:
        assert codes(np.maximum(head((48, 56, 40)), -1024)[14:34, 18:44, 10:30]) == []

    def test_all_formats(self, tmp_path: Path, nifti: Write, dicom_series: Write, head: Make) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(head().T.copy()), str(tmp_path / "a.nrrd"))
        sitk.WriteImage(sitk.GetImageFromArray(head().T.copy()), str(tmp_path / "a.mha"), True)
        series = dicom_series(head())
        paths = [nifti(head()), tmp_path / "a.nrrd", tmp_path / "a.mha", series, next(series.iterdir())]
        assert [codes(path) for path in paths] == [[]] * 5

    def test_picture_for_a_task_without_hounsfield_units(self, tmp_path: Path) -> None:
        Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 251).save(tmp_path / "a.png")
        assert codes(tmp_path / "a.png", modality=ANY) == []
        assert codes(tmp_path / "a.png") == ["HU_IMPLAUSIBLE"]

    def test_check_returns_the_volume(self, nifti: Write, head: Make) -> None:
        volume = check(nifti(head(), np.diag([2.0, 1, 1, 1])))
        np.testing.assert_array_equal(volume.voxels, head())
        assert volume.affine[0, 0] == 2


class TestUnreadable:
    def test_missing(self, tmp_path: Path) -> None:
        assert codes(tmp_path / "none.nii.gz") == ["UNREADABLE"]

    def test_forbidden(self, nifti: Write, head: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        path = nifti(head())
        monkeypatch.setattr(formats.os, "access", lambda *_: False)
        assert codes(path) == ["UNREADABLE"]

    def test_header_that_refers_to_another_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mhd"
        path.write_text("ObjectType = Image\nNDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = ../b")
        assert codes(path) == ["UNREADABLE"]


class TestNotAnImage:
    @pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha", "a.png", "a.dcm", "a.txt", "a"])
    @pytest.mark.parametrize("content", [b"", b"hello, no image at all", bytes(range(256)) * 8])
    def test_text_and_garbage(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        assert codes(tmp_path / name) == ["NOT_AN_IMAGE"]

    def test_gzipped_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"text " * 500))
        assert codes(tmp_path / "a.nii.gz") == ["NOT_AN_IMAGE"]

    def test_folder_without_dicom(self, tmp_path: Path) -> None:
        (tmp_path / "note.txt").write_text("none")
        assert codes(tmp_path) == ["NOT_AN_IMAGE"]


class TestTruncated:
    @pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
    @pytest.mark.parametrize("kept", [0.5, 0.95])
    def test_truncated_file(self, tmp_path: Path, nifti: Write, head: Make, name: str, kept: float) -> None:
        path = tmp_path / name
        if ".nii" in name:
            nifti(head(), name=name)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(head().T.copy()), str(path))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
        assert codes(path) == ["TRUNCATED"]

    def test_damaged_gzip(self, nifti: Write, head: Make) -> None:
        path = nifti(head())
        data = bytearray(path.read_bytes())
        data[-8:-4] = b"\0\0\0\0"  # the checksum
        path.write_bytes(data)
        assert codes(path) == ["TRUNCATED"]

    def test_dicom_slice(self, dicom_series: Write, head: Make) -> None:
        folder = dicom_series(head())
        path = sorted(folder.iterdir())[3]
        path.write_bytes(path.read_bytes()[:-300])
        assert codes(folder) == ["TRUNCATED"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite(nifti: Write, head: Make, value: float) -> None:
    hu = head().astype(np.float32)
    hu[3, 4, 5] = value
    assert codes(nifti(hu)) == ["NON_FINITE"]
    assert inspect(hu)[0].reason.startswith("1 of 13,440")


class TestEmpty:
    @pytest.mark.parametrize("value", [0, -1000])
    def test_constant(self, nifti: Write, value: int) -> None:
        assert codes(nifti(np.full((5, 5, 5), value, np.int16))) == ["EMPTY"]

    def test_no_voxels(self, nifti: Write, head: Make) -> None:
        path = nifti(head(), name="a.nii")
        data = bytearray(path.read_bytes())
        data[42:44] = struct.pack("<h", 0)
        path.write_bytes(data)
        assert codes(path) == ["EMPTY"]


class TestWrongDimension:
    @pytest.mark.parametrize("shape", [(6, 6, 6, 4), (6, 6, 6, 1, 3), (40, 1, 1), (40,)])
    def test_axes(self, nifti: Write, shape: tuple[int, ...]) -> None:
        assert codes(nifti(np.random.default_rng(0).integers(-1000, 400, shape).astype(np.int16))) == [
            "WRONG_DIMENSION"
        ]

    def test_colour_picture(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
        assert codes(tmp_path / "a.png") == ["WRONG_DIMENSION"]

    def test_colour_and_complex_nifti(self, tmp_path: Path, nifti: Write) -> None:
        rgb = np.zeros((6, 6, 6), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
        nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii.gz")
        assert codes(tmp_path / "rgb.nii.gz") == ["WRONG_DIMENSION"]
        assert codes(nifti(np.zeros((6, 6, 6), np.complex64))) == ["WRONG_DIMENSION"]


def test_unknown_modality(dicom_series: Write, head: Make) -> None:
    folder = dicom_series(head(), Modality="MR")
    assert codes(folder) == ["UNKNOWN_MODALITY"]
    assert codes(folder, modality="MR") == codes(folder, modality=ANY) == []


class TestHounsfield:
    def test_intensities_that_are_not_hounsfield_units(self, head: Make) -> None:
        hu = head().astype(np.float32)
        unit = np.clip((hu + 1000) / 1400, 0, 1)
        for scaled in (unit, unit * 2 - 1, np.rint(unit * 255), (hu - hu.mean()) / hu.std(), np.maximum(hu + 1024, 0)):
            assert codes(scaled.astype(np.float32)) == ["HU_IMPLAUSIBLE"]

    def test_noisy_scan_without_its_intercept(self, head: Make) -> None:
        assert codes(head((48, 56, 40), noise_hu=200) + np.int16(1024)) == ["HU_IMPLAUSIBLE"]

    def test_image_of_air_only(self) -> None:
        noise = np.random.default_rng(0).normal(-1000, 50, (20, 20, 20)).astype(np.float32)
        assert codes(noise) == ["HU_IMPLAUSIBLE"]

    @pytest.mark.parametrize("offset", [1000, 1024, 32768])
    @pytest.mark.parametrize("padding", [None, -2000])
    def test_remedy_names_the_offset(self, head: Make, offset: int, padding: int | None) -> None:
        air = offset - 1000
        stored = np.pad(head((40, 44, 20)).astype(np.int32) + offset, 6, constant_values=padding or air)
        assert codes(stored) == ["HU_IMPLAUSIBLE"]
        assert f"Subtract {offset}:" in inspect(stored)[0].remedy

    def test_reason_names_the_scale(self, head: Make) -> None:
        unit = ((head() + 1200) / 1600).astype(np.float32).clip(0, 1)
        assert "unit range" in inspect(unit)[0].reason


class TestMissingSlices:
    @pytest.mark.parametrize("lost", [[5], [3, 4, 5, 9]])
    def test_gap(self, dicom_series: Write, head: Make, lost: list[int]) -> None:
        folder = dicom_series(head())
        for number in lost:
            (folder / f"{number:03d}.dcm").unlink()
        assert codes(folder) == ["MISSING_SLICES"]

    def test_same_position_twice(self, dicom_series: Write, head: Make) -> None:
        folder = dicom_series(head())
        (folder / "copy.dcm").write_bytes((folder / "004.dcm").read_bytes())
        assert codes(folder) == ["DOUBLED_SLICES"]
        assert "'004.dcm' and 'copy.dcm'" in inspect(folder)[0].reason


class TestBadAffine:
    @pytest.mark.parametrize(
        "matrix",
        [
            np.zeros((3, 3)),
            np.diag([1.0, 0.0, 1.0]),
            np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1.0]]),
            np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]]),
            np.diag([np.nan, 1, 1]),
            np.diag([np.inf, 1, 1]),
        ],
        ids=["zero", "flat", "sheared", "singular", "nan", "infinite"],
    )
    def test_matrix(self, nifti: Write, head: Make, matrix: np.ndarray) -> None:
        path = nifti(head(), name="a.nii")
        data = bytearray(path.read_bytes())
        data[254:256] = struct.pack("<h", 1)
        rows = np.hstack([matrix, np.zeros((3, 1))]).astype("<f4")
        data[280:328] = rows.tobytes()
        path.write_bytes(data)
        assert codes(path) == ["BAD_AFFINE"]

    def test_sheared_nrrd(self, tmp_path: Path, head: Make) -> None:
        image = sitk.GetImageFromArray(head().T.copy())
        sitk.WriteImage(image, str(tmp_path / "a.mha"))
        data = (tmp_path / "a.mha").read_bytes()
        (tmp_path / "a.mha").write_bytes(data.replace(b"Matrix = 1 0 0 0 1 0", b"Matrix = 1 0 0 1 1 0"))
        assert codes(tmp_path / "a.mha") == ["BAD_AFFINE"]

    def test_slices_that_shift_further_than_a_gantry_tilts(self, dicom_series: Write, head: Make) -> None:
        assert codes(dicom_series(head(), (0.0, 2.5, 2.0))) == ["BAD_AFFINE"]

    def test_one_file_without_pixel_spacing(self, dicom_series: Write, head: Make) -> None:
        assert codes(next(dicom_series(head(), PixelSpacing=None).iterdir())) == ["BAD_AFFINE"]

    def test_series_without_positions(self, dicom_series: Write, head: Make) -> None:
        assert codes(dicom_series(head(), ImagePositionPatient=None)) == ["BAD_AFFINE"]


@pytest.mark.parametrize("spacing_mm", [0.001, 25.0, 500.0])
def test_spacing_absurd(nifti: Write, head: Make, spacing_mm: float) -> None:
    path = nifti(head(), np.diag([spacing_mm, spacing_mm, 1, 1]))
    assert codes(path) == ["SPACING_ABSURD"]
    assert f"{spacing_mm:g}" in inspect(path)[0].reason


def test_many_series(dicom_series: Write, head: Make) -> None:
    folder = dicom_series(head())
    data = (folder / "001.dcm").read_bytes()
    (folder / "other.dcm").write_bytes(data.replace(b"1.2.3\0", b"1.2.4\0"))
    assert codes(folder) == ["MANY_SERIES"]


class TestTooLarge:
    def test_too_large_header_is_refused_before_voxels_are_loaded(
        self, nifti: Write, head: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = nifti(head(), name="a.nii")
        data = bytearray(path.read_bytes())
        data[42:48] = struct.pack("<3h", 32000, 32000, 32000)
        path.with_suffix(".nii.gz").write_bytes(gzip.compress(bytes(data)))
        monkeypatch.setattr(validate, "load", lambda *_: pytest.fail("loaded"))
        assert codes(path.with_suffix(".nii.gz")) == ["TOO_LARGE"]

    def test_limit_is_an_argument(self, nifti: Write, head: Make) -> None:
        gib = head().nbytes / 2**30
        assert codes(nifti(head()), max_gib=gib * 1.01) == []
        assert codes(nifti(head()), max_gib=gib * 0.99) == ["TOO_LARGE"]

    def test_stream_longer_than_its_header_announces(self, nifti: Write, head: Make) -> None:
        path = nifti(head(), name="a.nii")
        packed = gzip.compress(path.read_bytes() + bytes(3 << 20))
        path.with_suffix(".nii.gz").write_bytes(packed)
        assert codes(path.with_suffix(".nii.gz")) == ["TOO_LARGE"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "007.dcm"])
def test_damaged_bytes_never_raise_an_unexpected_exception(
    tmp_path: Path, nifti: Write, dicom_series: Write, head: Make, name: str
) -> None:
    if name.endswith(".dcm"):
        path = dicom_series(head()) / name
    elif ".nii" in name:
        path = nifti(head(), name=name)
    else:
        path = tmp_path / name
        sitk.WriteImage(sitk.GetImageFromArray(head().T.copy()), str(path))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    rejected = 0
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 700), 6):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        rejected += bool(codes(path))
    assert rejected


def test_all_header_findings_are_returned_and_voxels_are_not_loaded(nifti: Write) -> None:
    hu = np.full((5, 5, 5, 2), np.nan, np.float32)
    assert codes(nifti(hu), max_gib=1e-9) == ["WRONG_DIMENSION", "TOO_LARGE"]


def test_check_raises_with_all_findings(nifti: Write, head: Make) -> None:
    with pytest.raises(InputRejected) as rejected:
        check(nifti(head(), np.diag([30.0, 30, 1, 1])), max_gib=1e-9)
    assert [f.code for f in rejected.value.findings] == ["TOO_LARGE", "SPACING_ABSURD"]
    with pytest.raises(InputRejected):
        check(Volume(np.zeros((4, 4, 4), np.int16), np.eye(4)))


def picture(path: Path, *, colour: bool = False, scale: int = 1) -> Path:
    pixels = np.arange(1200, dtype=np.uint8).reshape(20, 20, 3) * np.uint8(scale)
    Image.fromarray(pixels if colour else np.ascontiguousarray(pixels[..., 0])).save(path)
    return path


class TestOtherModalities:
    def test_the_modalities_of_each_kind_of_image(self, dicom_series: Write, head: Make) -> None:
        folder = dicom_series(head(), Modality="DX")
        assert codes(folder, modality="XR") == codes(folder, modality=ANY) == []
        for modality in ("CT", "MR", "US", "PT", "NM"):
            assert codes(folder, modality=modality) == ["UNKNOWN_MODALITY"]

    def test_an_mr_of_any_intensities(self, head: Make) -> None:
        hu = head().astype(np.float32)
        for voxels in (hu + 1000, (hu + 1000) / 4000, hu.clip(-1000, 155) + 1000):
            assert codes(voxels, modality="MR") == ["SATURATED"] * (voxels.max() == 1155)
        mask = (head() > 0).astype(np.uint8)
        assert codes(mask, modality="MR") == ["SATURATED"] and codes(mask, modality=ANY) == []

    @pytest.mark.parametrize("modality", ["MR", "US", "XR", "PT", ANY])
    def test_an_empty_image_of_any_modality(self, modality: str) -> None:
        assert codes(np.full((8, 8, 8), 3, np.int16), modality=modality) == ["EMPTY"]

    def test_a_photograph_has_three_channels(self, tmp_path: Path) -> None:
        colour, grey = picture(tmp_path / "c.png", colour=True), picture(tmp_path / "g.png")
        assert codes(colour, modality="RGB") == [] and codes(grey, modality="RGB") == ["WRONG_DIMENSION"]
        assert codes(colour, modality="MR") == ["WRONG_DIMENSION"]
        volume = check(colour, modality="RGB")
        stored = np.asarray(Image.open(colour))
        channels = np.stack([volume.voxels, *volume.others], -1)
        np.testing.assert_array_equal(channels, stored.transpose(1, 0, 2))

    def test_a_black_photograph_is_empty(self, tmp_path: Path) -> None:
        assert codes(picture(tmp_path / "c.png", colour=True, scale=0), modality="RGB") == ["EMPTY"]

    def test_transparency_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(20, 20, 4)).save(tmp_path / "a.png")
        assert codes(tmp_path / "a.png", modality="RGB") == ["WRONG_DIMENSION"]

    def test_ultrasound_in_colour_becomes_grey(self, tmp_path: Path) -> None:
        volume = check(picture(tmp_path / "c.png", colour=True), modality="US")
        assert not volume.others and volume.voxels.shape == (20, 20)

    def test_a_pet_is_not_negative(self, head: Make) -> None:
        activity = head().astype(np.float32) + 1000
        assert codes(activity, modality="PT") == [] and codes(activity - 500, modality="PT") == ["INTENSITY_RANGE"]

    def test_a_photograph_as_nifti(self, tmp_path: Path) -> None:
        rgb = np.zeros((6, 5, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
        for number, name in enumerate("RGB"):
            rgb[name] = np.arange(120).reshape(6, 5, 4) + number
        nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii.gz")
        volume = check(tmp_path / "rgb.nii.gz", modality="RGB")
        for name, channel in zip("RGB", (volume.voxels, *volume.others), strict=True):
            np.testing.assert_array_equal(channel, rgb[name])
