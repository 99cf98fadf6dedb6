"""NIfTI is read as nibabel reads it, for all types, scalings, byte orders and compressions."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.findings import InputRejected
from lib.data.formats import load, nifti, read_header


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", "<u2", "<i4", "<f4", "<f8"])
def test_types(tmp_path: Path, kind: type, name: str, dtype: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (5, 6, 7)).astype(dtype)
    header = kind.header_class(endianness=dtype[0] if dtype[0] in "<>" else "<")
    header.set_data_dtype(np.dtype(dtype))
    nib.save(kind(voxels, np.diag([2.0, 1, 1, 1]), header), tmp_path / name)
    volume = load(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.voxels.dtype.isnative and volume.voxels.dtype in (np.uint8, np.int16, np.float32)
    np.testing.assert_allclose(volume.affine, nib.load(tmp_path / name).affine)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    path = tmp_path / "a.nii.gz"
    nib.save(image, path)
    np.testing.assert_allclose(load(path).voxels, nib.load(path).get_fdata(), atol=1e-3)
    assert load(path).voxels.min() == pytest.approx(nib.load(path).get_fdata().min())


def test_several_gzip_members_and_padding(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(3 * nifti.CHUNK_BYTES + 17)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]) + b"\0" * 64)
    assert b"".join(nifti.stream(path)) == data


def test_pieces_have_a_limited_size_at_any_compression(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(20 * nifti.CHUNK_BYTES)))
    pieces = [len(piece) for piece in nifti.stream(path)]
    assert max(pieces) <= nifti.CHUNK_BYTES and sum(pieces) == 20 * nifti.CHUNK_BYTES


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_sizes_near_a_chunk_border(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti, "CHUNK_BYTES", 64)
    data = np.random.default_rng(0).bytes(size)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(data) + gzip.compress(data))
    assert b"".join(nifti.stream(path)) == data * 2


def test_truncated_gzip_stream_raises(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(5000))[:-1])
    with pytest.raises(EOFError):
        list(nifti.stream(path))


def test_header_is_enough_for_shape_and_size(nifti: Callable[..., Path]) -> None:
    from lib.data.formats import read_header

    header = read_header(nifti(np.zeros((4, 5, 6, 1), np.float32)))
    assert header.shape == (4, 5, 6, 1) and header.spatial_shape == (4, 5, 6) and header.bytes_per_voxel == 4


@pytest.mark.parametrize(("unit", "name"), [("meter", "metres"), ("micron", "micrometres")])
def test_other_units_than_millimetres_are_refused(tmp_path: Path, unit: str, name: str) -> None:
    """ITK converts them to mm, nibabel does not."""
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([2.0, 2, 2, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InputRejected, match=f"AMBIGUOUS_AFFINE.*{name}"):
        read_header(tmp_path / "a.nii")


def test_an_sform_with_another_spacing_than_pixdim_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([2.0, 2, 3, 1]))
    image.set_qform(None, 0)
    image.header["pixdim"][1:4] = 1
    nib.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[80:92] = np.ones(3, "<f4").tobytes()  # nibabel corrects pixdim where it saves
    raw[252:254] = np.zeros(1, "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(InputRejected, match=r"AMBIGUOUS_AFFINE.*2 x 2 x 3 mm, and pixdim has 1 x 1 x 1 mm"):
        read_header(tmp_path / "a.nii")
