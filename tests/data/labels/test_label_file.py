"""Label files of other programs are right to the voxel, or refused with code, reason and remedy."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lib.data.findings import InputRejected
from lib.data.formats import read_header
from lib.data.labels.label_file import LabelFile, read_label
from tests.cases import real_data

VALUES = {"nasal_cavity": 1, "sinuses": 2, "pharynx": 3, "larynx": 4, "trachea": 5}
SHAPE = (6, 5, 4)
AFFINE = np.diag([-2.0, -2, 3, 1])
LABEL = np.zeros(SHAPE, np.uint8)
LABEL[1:3], LABEL[3:5, 1:] = 5, 3


@pytest.fixture
def seg(tmp_path: Path) -> Callable[..., Path]:
    """Write layers as 3D Slicer does, with names by (layer, value)."""

    def write(*layers: np.ndarray, names: dict[tuple[int, int], str], start: tuple[int, int, int] = (0, 0, 0)) -> Path:
        images = []
        for layer in layers:
            image = sitk.GetImageFromArray(np.ascontiguousarray(layer.astype(np.uint8).T))
            image.SetSpacing((2, 2, 3))
            image.SetOrigin([2.0 * start[0], 2.0 * start[1], 3.0 * start[2]])
            images.append(image)
        image = images[0] if len(images) == 1 else sitk.Compose(*images)
        for number, ((layer, value), name) in enumerate(names.items()):
            for key, text in {"Name": name, "LabelValue": value, "Layer": layer, "ID": f"Segment_{number}"}.items():
                image.SetMetaData(f"Segment{number}_{key}", str(text))
        sitk.WriteImage(image, str(tmp_path / "label.seg.nrrd"))
        return tmp_path / "label.seg.nrrd"

    return write


def read(path: Path, label_info: Any = None, values: dict[str, int] | None = VALUES) -> LabelFile:
    return read_label(path, SHAPE, AFFINE, values, label_info)


def refusal(path: Path, label_info: Any = None, values: dict[str, int] | None = VALUES) -> Any:
    with pytest.raises(InputRejected) as caught:
        read(path, label_info, values)
    (finding,) = caught.value.findings
    assert finding.reason and finding.remedy
    return finding


def test_values_follow_the_names_of_the_header(seg: Callable[..., Path]) -> None:
    path = seg(np.select([LABEL == 5, LABEL == 3], [1, 2]), names={(0, 1): "Trachea", (0, 2): "pharynx"})
    found = read(path)
    assert np.array_equal(found.voxels, LABEL) and not found.is_plain and found.voxels.dtype == np.uint8
    assert refusal(path, {"larynx": 1, "pharynx": 2}).code == "LABEL_NAMES"
    assert refusal(path, values=None).code == "LABEL_NAMES", "names mean nothing without the labels of an app"


def test_a_file_with_names_is_never_plain(seg: Callable[..., Path]) -> None:
    """Its values would be read without its names later."""
    found = read(seg(LABEL, names={(0, 5): "trachea", (0, 3): "pharynx"}))
    assert np.array_equal(found.voxels, LABEL) and not found.is_plain


def test_layers_that_do_not_overlap_are_merged(seg: Callable[..., Path]) -> None:
    path = seg(LABEL == 5, LABEL == 3, names={(0, 1): "trachea", (1, 1): "pharynx"})
    assert np.array_equal(read(path).voxels, LABEL)
    assert np.array_equal(read(path, ["pharynx", "trachea"]).voxels, LABEL)


def test_layers_that_overlap_are_refused_with_place_number_and_names(seg: Callable[..., Path]) -> None:
    other = LABEL == 3
    other[2, 1, 2:] = True
    finding = refusal(seg(LABEL == 5, other, names={(0, 1): "trachea", (1, 1): "pharynx"}))
    assert finding.code == "LABEL_OVERLAP"
    assert "'trachea' and 'pharynx' share 2 voxels" in finding.reason and "(2, 1, 2)" in finding.reason
    assert "(-4.0, -2.0, 6.0) mm" in finding.reason


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ({}, "WRONG_DIMENSION"),
        ({(0, 1): "trachea", (2, 1): "pharynx"}, "LABEL_NAMES"),
        ({(0, 1): "trachea"}, "LABEL_NAMES"),
    ],
)
def test_layers_without_names_are_refused(seg: Callable[..., Path], names: dict, code: str) -> None:
    assert refusal(seg(LABEL == 5, LABEL == 3, names=names)).code == code


def test_a_cropped_segmentation_is_put_back(seg: Callable[..., Path]) -> None:
    path = seg(LABEL[1:5, 0:5, :] == 5, names={(0, 1): "trachea"}, start=(1, 0, 0))
    assert np.array_equal(read(path).voxels, np.where(LABEL == 5, 5, 0))


def test_another_order_of_voxels_is_exact(tmp_path: Path) -> None:
    canonical = nib.as_closest_canonical(nib.Nifti1Image(LABEL, AFFINE))
    nib.save(canonical, tmp_path / "label.nii.gz")
    found = read(tmp_path / "label.nii.gz", values=None)
    assert np.array_equal(found.voxels, LABEL) and not found.is_plain


def test_the_header_alone_refuses_a_file_that_is_too_large(tmp_path: Path) -> None:
    text = "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4000 4000 400\n"
    text += "space directions: (2,0,0) (0,2,0) (0,0,3)\nkinds: domain domain domain\nencoding: raw\n"
    text += "space origin: (0,0,0)\nSegment0_Name:=trachea\n\n"
    (tmp_path / "label.seg.nrrd").write_bytes(text.encode() + bytes(100))
    assert refusal(tmp_path / "label.seg.nrrd").code == "TOO_LARGE"


def test_a_real_segmentation_of_slicer_follows_its_names() -> None:
    folder = real_data("slicerio")
    grid = read_header(folder / "CTChest4.nrrd")
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "Segmentation.seg.nrrd"))).T
    names = ["ribs", "cervical vertebral column", "thoracic vertebral column", "lumbar vertebral column"]
    names += ["right lung", "left lung", "tissue"]
    found = read_label(
        folder / "Segmentation.seg.nrrd", grid.spatial_shape, grid.affine, {n: v for v, n in enumerate(names[::-1], 1)}
    )
    assert np.array_equal(found.voxels, np.where(raw > 0, 8 - raw, 0))
    with pytest.raises(InputRejected, match=r"LABEL_NAMES.*'ribs'"):
        read_label(folder / "Segmentation.seg.nrrd", grid.spatial_shape, grid.affine, VALUES)


def test_a_real_segmentation_with_overlapping_layers_is_refused() -> None:
    folder = real_data("slicerio")
    grid, path = read_header(folder / "CTChest4.nrrd"), folder / "SegmentationOverlapping.seg.nrrd"
    names = [text for key, text in read_header(path).metadata.items() if key.endswith("_Name")]
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    pair = int(np.count_nonzero((raw[..., 0] == 7) & (raw[..., 1] == 1)))
    values = {name: value for value, name in enumerate(names, 1)}
    with pytest.raises(InputRejected, match=f"'tissue' and 'overlapping sphere' share {pair:,} voxels"):
        read_label(path, grid.spatial_shape, grid.affine, values)


def test_a_real_label_map_without_names_has_unknown_values() -> None:
    folder = real_data("dcmqi")
    for path in sorted(folder.glob("*_seg.nrrd")):
        header = read_header(path)
        try:
            found = read_label(path, header.spatial_shape, header.affine, VALUES)
        except InputRejected as rejected:
            assert rejected.findings[0].code == "LABEL_VALUES", path.name
        else:
            assert found.is_plain, path.name


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_png_of_few_bits_keeps_its_values(tmp_path: Path, bits: int) -> None:
    """ITK stretches its grey values to 0 to 255, and 255 is "ignore"."""
    values = np.array([[0, 1, 1, 0], [1, 0, 1, 1]], np.uint8)
    write_png(tmp_path / "label.png", values, bits)
    label = read_label(tmp_path / "label.png", (4, 2), np.diag([-1.0, -1, 1, 1]), {"vessel": 1})
    np.testing.assert_array_equal(label.voxels, values.T)


def write_png(path: Path, values: np.ndarray, bits: int) -> None:
    """Write a grey PNG of few bits, which no library here can."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b""
    for row in values:
        packed = "".join(f"{value:0{bits}b}" for value in row).ljust(8, "0")
        rows += b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big")
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_a_fraction_that_float32_would_round_away_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(LABEL.astype(np.float64) * 0.999999999, AFFINE), tmp_path / "label.nii.gz")
    assert refusal(tmp_path / "label.nii.gz").code == "LABEL_VALUES"


PICTURE = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)  # rows of columns


def read_picture(path: Path, label_info: Any = None) -> LabelFile:
    return read_label(path, (3, 2), np.diag([-1.0, -1, 1, 1]), {"a": 1, "b": 2}, label_info, in_pixels=True)


def save_picture(path: Path, values: np.ndarray = PICTURE) -> Path:
    """Write a label picture; as NRRD or NIfTI with the spacing that ITK reads from a resolution of 300 dpi."""
    if path.suffix in (".png", ".tif"):
        Image.fromarray(values).save(path)
        return path
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([25.4 / 300] * image.GetDimension())
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.nrrd", "a.nii.gz", "a.mha"])
def test_a_label_of_a_picture_needs_its_size_only(tmp_path: Path, name: str) -> None:
    found = read_picture(save_picture(tmp_path / name))
    assert np.array_equal(found.voxels, PICTURE.T) and found.is_plain
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        read_picture(save_picture(tmp_path / name, PICTURE.T))


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz"])
def test_a_label_of_one_slice_is_flat(tmp_path: Path, name: str) -> None:
    found = read_picture(save_picture(tmp_path / name, PICTURE[None]))
    assert np.array_equal(found.voxels, PICTURE.T) and not found.is_plain, "other programs compare the shapes"


def test_a_palette_label_has_its_indices_as_values(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 2))
    picture.putdata(PICTURE.ravel().tolist())
    picture.putpalette([10, 20, 30] * 256)
    picture.save(tmp_path / "a.png", transparency=0)
    found = read_picture(tmp_path / "a.png")
    assert np.array_equal(found.voxels, PICTURE.T) and not found.is_plain, "other programs read its colours"
    assert np.array_equal(
        read_picture(tmp_path / "a.png", {"a": 2, "b": 1}).voxels, np.array([0, 2, 1, 255])[np.minimum(PICTURE.T, 3)]
    )


def test_colours_and_lossy_files_are_no_label_values(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([PICTURE] * 3)).save(tmp_path / "a.png")
    with pytest.raises(InputRejected, match=r"WRONG_DIMENSION.*Colours are no label values"):
        read_picture(tmp_path / "a.png")
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(InputRejected, match=r"LABEL_VALUES.*JPEG"):
        read_picture(tmp_path / "a.jpg")


def test_a_segmentation_that_slicer_cropped_is_put_back_into_a_picture(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.array([[[1], [1]]], np.uint8))
    image.SetOrigin((1.0, 0.0, 0.0))
    for key, text in {"Name": "b", "LabelValue": "1", "Layer": "0", "ID": "Segment_1"}.items():
        image.SetMetaData(f"Segment0_{key}", text)
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    assert read_picture(tmp_path / "a.seg.nrrd").voxels.tolist() == [[0, 0], [2, 2], [0, 0]]


def test_a_volume_takes_no_label_by_its_size_alone(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="LABEL_GRID"):
        read_label(save_picture(tmp_path / "a.nrrd"), (3, 2), np.diag([-1.0, -1, 1, 1]), {"a": 1, "b": 2})
