"""NRRD, MetaImage and pictures are read with ITK, with RAS geometry."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.findings import InputRejected
from lib.data.formats import load, read_header
from lib.data.formats.volume import Header, Volume
from lib.data.volumes.geometry import ras_from_itk
from lib.data.volumes.save import write_series


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "a.nhdr"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64, np.uint16])
def test_voxels_and_affine(tmp_path: Path, name: str, dtype: type) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (4, 5, 6)).astype(dtype)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing((0.5, 0.6, 2.0))
    image.SetOrigin((10, 20, 30))
    sitk.WriteImage(image, str(tmp_path / name))
    volume, header = load(tmp_path / name), read_header(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert header.bytes_per_voxel == np.dtype(dtype).itemsize and header.components == 1
    expected = np.diag([-0.5, -0.6, 2.0, 1.0])
    expected[:3, 3] = [-10, -20, 30]
    np.testing.assert_allclose(volume.affine, expected)


def test_picture_is_a_2d_volume(tmp_path: Path) -> None:
    plane = np.arange(30, dtype=np.uint8).reshape(5, 6)
    sitk.WriteImage(sitk.GetImageFromArray(plane.T.copy()), str(tmp_path / "a.png"))
    volume = load(tmp_path / "a.png")
    np.testing.assert_array_equal(volume.voxels, plane)
    np.testing.assert_allclose(volume.affine, ras_from_itk((1, 1), (0, 0), (1, 0, 0, 1)))


@pytest.mark.parametrize("target", ["/etc/hostname", "../other.raw", "LIST", "a%03d.raw 1 3 1", "sub/a.raw"])
@pytest.mark.parametrize(
    ("name", "field"), [("a.mhd", "ElementDataFile ="), ("a.mha", "ElementDataFile="), ("a.nhdr", "data file:")]
)
def test_voxels_outside_the_folder_are_refused(tmp_path: Path, name: str, field: str, target: str) -> None:
    start = "NRRD0004\n" if name == "a.nhdr" else "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\n"
    (tmp_path / name).write_text(f"{start}{field} {target}\n\n")
    with pytest.raises(InputRejected, match="UNREADABLE"):
        load(tmp_path / name)


def test_colour_picture_has_three_components(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((5, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.png"))
    header = read_header(tmp_path / "a.png")
    assert header.components == 3 and header.bytes_per_voxel == 3


NRRD = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        # ITK readers accept other line ends, and read more of the header than the first check did.
        ("a.nrrd", NRRD.replace(b"\n", b"\r") + b"data file: /etc/hostname\r\r"),
        ("a.nrrd", NRRD + b"# " + b"x" * (70 << 10) + b"\ndata file: /etc/hostname\n\n"),
        ("a.nrrd", NRRD + b"datafile: /etc/hostname\n\n"),
        ("a.mha", b"ObjectType = Image\n\nNDims = 3\nDimSize = 2 2 2\n\nElementDataFile = /etc/hostname\n"),
        ("a.mha", b"ObjectType = Image\nNDims = 3\n" + b"Comment = x\n" * 8000 + b"ElementDataFile = /etc/hostname\n"),
        ("a.nrrd", b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementDataFile = /etc/hostname\n"),
        ("a.png", NRRD + bytes(100)),
        ("a.jpg", b"\x89PNG\r\n\x1a\n" + bytes(100)),
    ],
)
def test_tricks_to_read_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputRejected, match=r"UNREADABLE|NOT_AN_IMAGE"):
        read_header(tmp_path / name)


PLACED = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,2)\n"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (PLACED, True),
        (PLACED + 'space units: "mm" "mm" "mm"\n', True),
        (PLACED.replace("left-posterior-superior", "RAS"), True),
        (PLACED + 'space units: "m" "m" "m"\n', False),
        (PLACED.replace("left-posterior-superior", "scanner-xyz"), False),
        (PLACED.replace("space: left-posterior-superior", "space dimension: 3"), False),
        ("space: left-posterior-superior\n", False),
        ("spacings: 1 1 2\n", False),
        ("", False),
    ],
)
def test_a_nrrd_volume_says_how_it_lies_in_the_patient(tmp_path: Path, header: str, accepted: bool) -> None:
    voxels = np.arange(24, dtype=np.int16).tobytes()
    start = "NRRD0005\ntype: short\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little\n"
    (tmp_path / "a.nrrd").write_bytes(f"{start}{header}\n".encode() + voxels)
    if accepted:
        assert load(tmp_path / "a.nrrd").voxels.shape == (2, 3, 4)
        return
    with pytest.raises(InputRejected, match="AMBIGUOUS_AFFINE"):
        load(tmp_path / "a.nrrd")


def test_other_units_are_refused_in_slices_and_in_metaimage_too(tmp_path: Path) -> None:
    head = "NRRD0005\ntype: short\ndimension: 3\nsizes: 2 3 1\nencoding: raw\nendian: little\n"
    place = 'space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace units: "cm" "cm" "cm"\n\n'
    (tmp_path / "a.nrrd").write_bytes((head + place).encode() + bytes(12))
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkInt16), str(tmp_path / "a.mha"))
    load(tmp_path / "a.mha")
    content = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(content.replace(b"ElementType", b"DistanceUnits = cm\nElementType"))
    for name in ("a.nrrd", "a.mha"):
        with pytest.raises(InputRejected, match="positions in cm"):
            read_header(tmp_path / name)


def test_slice_positions_that_another_program_left_behind_are_refused(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    origins = np.column_stack([np.zeros((4, 2)), [0.0, 1.0, 4.0, 6.0]])
    header = Header(tmp_path, "dicom", (3, 3, 4), 1, 2, affine, "CT", origins=origins)
    path = write_series(Volume(np.zeros((3, 3, 4), np.int16), affine, header), tmp_path, "uneven")
    np.testing.assert_allclose(read_header(path).origins, origins)
    image = sitk.ReadImage(str(path))
    image.SetOrigin([5.0, 0.0, 0.0])
    sitk.WriteImage(image, str(path))
    with pytest.raises(InputRejected, match="positions of slices"):
        read_header(path)
