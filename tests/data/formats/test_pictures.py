"""Pictures are read with their stored values, in pixels; what programs show in different ways is refused."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lib.data.findings import InputRejected
from lib.data.formats import load, load_layers, read_header, read_label_header
from tests.cases import real_data

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 6), np.uint8)
GREY_16 = RNG.integers(0, 65536, (5, 6), np.uint16)
COLOUR = RNG.integers(0, 256, (5, 6, 3), np.uint8)
COLOUR_16 = RNG.integers(0, 65536, (5, 6, 3), np.uint16)
TURNED = 6
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def channels(path: Path) -> np.ndarray:
    """Return a picture as `Image` gives it, ``(Y, X)`` or ``(Y, X, C)``."""
    volume = load(path)
    return np.squeeze(np.stack([one.T for one in (volume.voxels, *volume.others)], -1))


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[274] = orientation
    return found


def code(path: Path) -> str:
    with pytest.raises(InputRejected) as caught:
        read_header(path)
    (finding,) = caught.value.findings
    assert path.name in finding.reason and finding.remedy.endswith(".")
    return finding.code


@pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
@pytest.mark.parametrize("stored", [GREY, GREY_16, COLOUR, COLOUR_16, GREY.astype(np.float32) / 255])
def test_a_tiff_keeps_its_values(tmp_path: Path, stored: np.ndarray, suffix: str) -> None:
    image = sitk.GetImageFromArray(stored, isVector=stored.ndim == 3)
    sitk.WriteImage(image, str(tmp_path / "a.tif"), imageIO="TIFFImageIO")
    path = (tmp_path / "a.tif").rename(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(channels(path), stored)
    assert read_header(path).bytes_per_voxel == stored.dtype.itemsize * stored[0, 0].size


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_packed_tiff_keeps_its_values(tmp_path: Path, compression: str) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(channels(tmp_path / "a.tif"), COLOUR)


@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.png"])
def test_the_resolution_for_prints_is_no_spacing(tmp_path: Path, name: str) -> None:
    Image.fromarray(GREY).save(tmp_path / name, dpi=(300, 150))
    header = read_header(tmp_path / name)
    assert header.in_pixels and header.shape == (6, 5)
    np.testing.assert_array_equal(header.affine, np.diag([-1.0, -1, 1, 1]))


def test_other_formats_have_a_geometry(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(GREY), str(tmp_path / "a.nrrd"))
    assert not load(tmp_path / "a.nrrd").in_pixels


@pytest.mark.parametrize("orientation", [0, 1, TURNED, 9])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_a_picture_that_some_programs_turn_is_refused(tmp_path: Path, name: str, orientation: int) -> None:
    facts: dict[str, Any] = {"tiffinfo": {274: orientation}} if name == "a.tif" else {"exif": exif(orientation)}
    Image.fromarray(GREY).save(tmp_path / name, **facts)
    if orientation == TURNED:
        assert code(tmp_path / name) == "AMBIGUOUS_AFFINE"
    else:
        assert load(tmp_path / name).voxels.shape == (6, 5)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_the_orientation_of_xmp_counts(tmp_path: Path, name: str) -> None:
    Image.fromarray(COLOUR).save(tmp_path / name, xmp=XMP)
    if name == "a.png":
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
        write_png(tmp_path / name, GREY, chunks=[(b"iTXt", text)])
    assert code(tmp_path / name) == "AMBIGUOUS_AFFINE"


def write_png(path: Path, grey: np.ndarray, *, chunks: Any = (), last: Any = ()) -> None:
    """Write a grey PNG with chunks before and after its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    head = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), *last, (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def test_exif_after_the_pixels_counts(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", GREY, last=[(b"eXIf", exif(TURNED).tobytes().removeprefix(b"Exif\0\0"))])
    assert code(tmp_path / "a.png") == "AMBIGUOUS_AFFINE"


def test_values_that_itk_would_divide_are_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", GREY, chunks=[(b"sBIT", b"\5")])
    assert code(tmp_path / "a.png") == "NOT_AN_IMAGE"
    write_png(tmp_path / "a.png", GREY, chunks=[(b"sBIT", b"\x08")])
    np.testing.assert_array_equal(channels(tmp_path / "a.png"), GREY)


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        ("L", {"save_all": True, "append_images": [Image.fromarray(GREY)] * 2}, "WRONG_DIMENSION"),
        ("L", {"tiffinfo": {330: 8}}, "WRONG_DIMENSION"),  # smaller copies, as in a pyramid
        ("L", {"tiffinfo": {262: 0}}, "NOT_AN_IMAGE"),  # 0 is white
        ("P", {}, "NOT_AN_IMAGE"),
        ("1", {}, "NOT_AN_IMAGE"),
        ("LA", {}, "WRONG_DIMENSION"),
        ("CMYK", {}, "NOT_AN_IMAGE"),
        ("YCbCr", {}, "NOT_AN_IMAGE"),
    ],
)
def test_kinds_of_tiff_that_itk_reads_wrongly_are_refused(
    tmp_path: Path, mode: str, options: dict[str, Any], expected: str
) -> None:
    source = Image.fromarray(COLOUR if mode in ("CMYK", "YCbCr") else GREY)
    source.convert(mode).save(tmp_path / "a.tif", **options)
    assert code(tmp_path / "a.tif") == expected


def test_a_jpeg_for_prints_is_refused(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
    assert code(tmp_path / "a.jpg") == "NOT_AN_IMAGE"


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_transparency_of_a_grey_picture_is_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(GREY).convert(mode).save(tmp_path / "a.png", **({"transparency": 3} if mode == "L" else {}))
    assert code(tmp_path / "a.png") == "WRONG_DIMENSION"


def test_a_picture_beyond_the_limit_of_its_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert code(tmp_path / "a.png") == "TOO_LARGE"


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_is_colours_in_an_image_and_indices_in_a_label(tmp_path: Path, bits: int) -> None:
    indices = (GREY % 2 ** min(bits, 2)).astype(np.uint8)
    picture = Image.fromarray(indices).convert("P")
    picture.putdata(indices.ravel().tolist())
    palette = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]
    picture.putpalette(palette)
    picture.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(channels(tmp_path / "a.png"), np.reshape(palette, (-1, 3))[indices])
    header = read_label_header(tmp_path / "a.png")
    (layer,) = load_layers(tmp_path / "a.png", header)
    np.testing.assert_array_equal(layer, indices.T)
    assert header.components == 1 and header.bytes_per_voxel == 1


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_a_damaged_picture_is_refused_without_another_error(tmp_path: Path, name: str) -> None:
    Image.fromarray(COLOUR).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    rng, refused = np.random.default_rng(1), 0
    for step in range(150):
        damaged = bytearray(content if step % 2 else content[: int(rng.integers(4, len(content)))])
        damaged[int(rng.integers(4, len(damaged) + 1)) - 1] ^= int(rng.integers(1, 256)) if step % 3 else 0
        (tmp_path / name).write_bytes(damaged)
        try:
            assert load(tmp_path / name).voxels.ndim == 2
        except InputRejected:
            refused += 1
    assert refused > 50


def test_a_real_photograph_is_that_of_another_reader() -> None:
    """Two decoders of JPEG may round differently by a few values."""
    path = real_data("chase_db1") / "training" / "images" / "Image_01L.jpg"
    found, expected = channels(path), np.asarray(Image.open(path))
    assert found.shape == expected.shape == (960, 999, 3)
    assert np.abs(found.astype(int) - expected).mean() < 0.5
