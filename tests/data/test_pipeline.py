"""Files of all formats give the same reading, and labels and points map back to the grid of the file."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from lib.data.files.tables import SpecError
from lib.data.findings import InputRejected
from lib.data.formats import Volume
from lib.data.pipeline import IGNORE, ImageSpec, build_image_spec, load_label, read, write_label
from lib.data.validate import check
from lib.data.volumes.geometry import itk_from_ras

SPEC = ImageSpec((1.0, 1.0, 1.5), (-1000.0, 400.0), (16, 16))
Write = Callable[..., Path]
Make = Callable[..., np.ndarray]


@pytest.mark.parametrize("seed", range(8))
class TestRandomAffine:
    def test_voxel_index_maps_to_the_grid_and_back(self, nifti: Write, random_affine: Make, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shape = (14, 11, 13)
        ijk = np.array([rng.integers(2, n - 2) for n in shape])
        marked = np.full(shape, -1000, np.int16)
        marked[tuple(ijk)] = 3000
        reading = read(nifti(marked, random_affine(seed)), ImageSpec((0.25,) * 3, (0, 1), (8, 8)))
        point = reading.points_to_grid(ijk)
        brightest = np.unravel_index(int(reading.intensities[0].argmax()), reading.intensities.shape[1:])
        assert np.abs(point[0] - brightest).max() <= 1
        np.testing.assert_allclose(reading.points_to_source(point)[0], ijk, atol=1e-9)
        drawn = torch.zeros(reading.intensities.shape[1:], dtype=torch.uint8)
        drawn[tuple(np.rint(point[0]).astype(int))] = 1
        for axis, n in enumerate(drawn.shape):  # a source voxel is several samples wide here
            drawn = drawn | drawn.roll(1, axis) | drawn.roll(-1, axis) if n > 1 else drawn
        assert reading.to_source(drawn)[tuple(ijk)] == 1

    def test_label_is_restored_on_the_source_grid(self, nifti: Write, random_affine: Make, seed: int) -> None:
        shape = (15, 9, 12)
        rng = np.random.default_rng(seed)
        label = rng.choice([0, 1, 5, IGNORE], shape).astype(np.uint8)
        affine = random_affine(seed)
        image = nifti(rng.integers(-1000, 400, shape).astype(np.int16), affine)
        fine = ImageSpec((0.3, 0.3, 0.3), (0, 1), (8, 8))
        reading = read(image, fine, nifti(label, affine, "label.nii.gz"))
        assert reading.label is not None and reading.label.dtype == torch.uint8
        assert reading.label.shape == reading.intensities.shape[1:]
        back = reading.to_source(reading.label)
        assert back.dtype == np.uint8 and back.shape == reading.source_shape == shape
        np.testing.assert_array_equal(back, label)
        np.testing.assert_allclose(reading.source_affine, affine, atol=1e-4)
        assert reading.source_codes == nib.aff2axcodes(affine)

    def test_nrrd_and_nifti_read_the_same(self, tmp_path: Path, nifti: Write, random_affine: Make, seed: int) -> None:
        voxels = np.random.default_rng(seed).integers(-1000, 400, (9, 8, 7)).astype(np.int16)
        affine = random_affine(seed)
        image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
        for name, value in zip(("Spacing", "Origin", "Direction"), itk_from_ras(affine, 3), strict=True):
            getattr(image, f"Set{name}")(value)
        sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
        first, second = read(nifti(voxels, affine), SPEC), read(tmp_path / "a.nrrd", SPEC)
        torch.testing.assert_close(first.intensities, second.intensities, atol=0.05, rtol=0)
        np.testing.assert_allclose(first.affine, second.affine, atol=1e-3)


def test_shape_spacing_and_orientation(nifti: Write, head: Make) -> None:
    reading = read(nifti(head((20, 30, 10)), np.diag([-0.5, 2.0, 3.0, 1])), SPEC)
    assert reading.intensities.shape == (1, 10, 60, 20) and reading.intensities.dtype == torch.float32
    assert nib.aff2axcodes(reading.affine) == ("R", "A", "S")
    assert reading.source_codes == ("L", "A", "S")
    assert reading.intensities.is_contiguous()


def test_dicom_series_and_nifti_give_the_same_reading(dicom_series: Write, nifti: Write, head: Make) -> None:
    voxels = head((12, 10, 6)) // 2 * 2
    affine = np.diag([-0.5, -0.8, 2.0, 1.0])
    affine[:3, 3] = [10, -5, 30]
    first, second = read(dicom_series(voxels), SPEC), read(nifti(voxels, affine), SPEC)
    torch.testing.assert_close(first.intensities, second.intensities)
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-5)


def test_trailing_axis_of_size_1_is_dropped(nifti: Write, head: Make) -> None:
    reading = read(nifti(head()[..., None]), SPEC)
    assert reading.source_shape == (24, 28, 20)
    assert reading.to_source(torch.zeros(reading.intensities.shape[1:])).shape == (24, 28, 20)


@pytest.mark.parametrize("shape", [(20, 18), (20, 18, 1)])
def test_label_of_a_slice_has_the_shape_of_the_source(nifti: Write, head: Make, shape: tuple[int, ...]) -> None:
    reading = read(nifti(head(shape), np.diag([1.0, 1.0, 5.0, 1.0])), SPEC)
    assert reading.intensities.shape == (1, 20, 18, 1)
    assert reading.to_source(reading.intensities[0] > -500).shape == shape


def test_checked_volume_is_not_loaded_again(nifti: Write, head: Make) -> None:
    path = nifti(head())
    volume = check(path)
    expected = read(path, SPEC).intensities
    path.unlink()
    torch.testing.assert_close(read(volume, SPEC).intensities, expected)


@pytest.mark.parametrize(
    ("shape", "affine"), [((5, 5, 5), np.eye(4)), ((6, 6, 6), np.diag([-1.0, 1, 1, 1])), ((6, 6, 6), np.eye(4) * 1.5)]
)
def test_label_on_another_grid_is_refused(nifti: Write, shape: tuple[int, ...], affine: np.ndarray) -> None:
    image = nifti(np.zeros((6, 6, 6), np.int16))
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        read(image, SPEC, nifti(np.zeros(shape, np.uint8), affine, "label.nii.gz"))


def test_voxels_of_a_label_with_another_shape_are_not_loaded(
    nifti: Write, head: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = check(nifti(head()))
    small = tmp_path / "label.nii"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), small)
    monkeypatch.setattr("lib.data.labels.label_file.load_layers", lambda *_: pytest.fail("the label was loaded"))
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        load_label(small, volume.voxels.shape, volume.affine)


def test_label_with_nan_is_refused(nifti: Write, head: Make, tmp_path: Path) -> None:
    volume = check(nifti(head()))
    voxels = np.full(volume.voxels.shape, np.nan, np.float32)
    nib.save(nib.Nifti1Image(voxels, volume.affine), tmp_path / "label.nii")
    with pytest.raises(InputRejected, match="LABEL_VALUES"):
        load_label(tmp_path / "label.nii", volume.voxels.shape, volume.affine)


@pytest.mark.parametrize("value", [-1, 256])
def test_label_values_out_of_range_are_refused(nifti: Write, value: int) -> None:
    label = np.full((4, 4, 4), value, np.int16)
    with pytest.raises(InputRejected, match="LABEL_VALUES"):
        read(nifti(label), SPEC, nifti(label, name="label.nii.gz"))


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nrrd"])
def test_written_label_is_on_the_source_grid(tmp_path: Path, nifti: Write, random_affine: Make, name: str) -> None:
    affine = random_affine(3)
    reading = read(nifti(np.random.default_rng(0).integers(-9, 9, (7, 8, 9)).astype(np.int16), affine), SPEC)
    label = reading.to_source(reading.intensities[0] > 0)
    path = write_label(label, reading, tmp_path / name)
    image = sitk.ReadImage(str(path))
    assert image.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, label)
    np.testing.assert_allclose(read(path, SPEC).source_affine, affine, atol=1e-4)
    with pytest.raises(ValueError, match="source"):
        write_label(label[1:], reading, tmp_path / name)


TABLE = {"spacing_mm": [1, 1, 1.5], "roi": [16, 16]}


def test_image_spec_is_read_from_a_table(caplog: pytest.LogCaptureFixture) -> None:
    spec = build_image_spec({**TABLE, "window": [-1000, 400], "intensity": "window"}, "[image]")
    assert spec == build_image_spec({**TABLE, "window": [-1000, 400]}, "[image]") == SPEC
    assert (spec.window, spec.intensity) == ((-1000.0, 400.0), "window") and not caplog.records


@pytest.mark.parametrize(("modality", "channels"), [("MR", 1), ("RGB", 3), ("US", 1)])
def test_other_modalities_need_no_window(modality: str, channels: int) -> None:
    spec = build_image_spec({**TABLE, "modality": modality, "intensity": "percentile"}, "[image]")
    assert (spec.modality, spec.intensity, spec.channel_count) == (modality, "percentile", channels)
    assert spec.legacy_fields()["modality"] == modality, "cache keys tell it from a CT"


def test_a_colour_image_is_read_as_channels_or_as_luminance(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 12, 10), np.uint8)
    volume = Volume(pixels[0], np.diag([-1.0, -1, 1, 1]), None, (pixels[1], pixels[2]))
    colour = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (8, 8), intensity="unit", modality="RGB")
    image = read(volume, colour).normalised()
    np.testing.assert_allclose(image[..., 0].numpy(), pixels[:, ::-1, ::-1] / 255, atol=1e-6)
    grey = read(volume, replace(colour, modality="US")).normalised()
    assert grey.shape == (1, 12, 10, 1)
    with pytest.raises(InputRejected, match="WRONG_DIMENSION"):
        read(Volume(pixels[0], np.eye(4)), colour)


def test_an_mr_is_standardised_by_the_whole_file(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).normal(400, 90, (20, 18, 16)).astype(np.float32)
    spec = ImageSpec((2.0, 2.0, 2.0), (0.0, 1.0), (8, 8, 8), intensity="zscore", modality="MR")
    reading = read(Volume(voxels, np.eye(4)), spec)
    assert reading.scales[0].usual(torch.tensor(float(voxels.mean()))) == pytest.approx(0.5, abs=1e-3)
    assert abs(float(reading.normalised().mean())) < 0.1


def test_old_window_key_works_and_is_reported_as_deprecated(caplog: pytest.LogCaptureFixture) -> None:
    table = {**TABLE, "window_hu": [-1000, 400]}
    with caplog.at_level(logging.WARNING):
        assert build_image_spec(table, "[image]") == SPEC
    assert "[image]: window_hu is deprecated; write window" in caplog.text
    assert "window" not in table, "the table is not changed"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"window": [-1000, 400], "window_hu": [-1000, 400]}, r"\[image\] has window and window_hu"),
        ({"window": [0, 1], "intensity": "zscore"}, "window: only intensity = 'window' takes a window"),
        ({"window": [0, 1], "modality": "MRI"}, "modality is 'MRI'; the choices are CT, MR"),
        ({"intensity": "zscore", "modality": "MR", "crop_margin_mm": 5.0}, "only modality = 'CT' takes it"),
        ({"window": [0, 1], "intensity": "percentiles"}, "intensity is 'percentiles'; the choices are window"),
        ({}, "needs window"),
        ({"window_hu": [0]}, "window takes a list of 2"),
    ],
)
def test_bad_image_spec_is_refused(block: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_image_spec({**TABLE, **block}, "[image]")


def test_stored_plans_and_cache_keys_keep_the_first_names_of_the_fields() -> None:
    text = (
        "ImageSpec(spacing_mm=(1.0, 1.0, 1.5), "
        "window_hu=(-1000.0, 400.0), roi=(16, 16), slice_offsets=(0,), crop_margin_mm=None)"
    )
    assert SPEC.legacy_text() == text
    names = ["spacing_mm", "window_hu", "roi", "slice_offsets", "crop_margin_mm"]
    assert list(SPEC.legacy_fields()) == names
