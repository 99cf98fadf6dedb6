"""Read NRRD, MetaImage, PNG, JPEG and TIFF files with ITK, and convert LPS to RAS+."""

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lib.data.findings import InputRejected, reject
from lib.data.formats.pictures import AFFINE, check_picture, is_picture
from lib.data.formats.volume import NOTES, SLICE_ORIGINS, Header
from lib.data.volumes.geometry import ras_from_itk

HEAD_BYTES = 64 << 10
MAX_ORIGIN_SHIFT = 0.1
"""Largest distance of the first and the last slice from their places on the grid, in pixels."""
_IO = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".png": "PNGImageIO",
    ".jpg": "JPEGImageIO",
    ".jpeg": "JPEGImageIO",
    ".tif": "TIFFImageIO",
    ".tiff": "TIFFImageIO",
}
"""ITK reader by suffix. Without it, ITK would choose any reader that accepts the content."""
_BEGINS = {
    "NrrdImageIO": b"NRRD000",
    "MetaImageIO": b"",
    "PNGImageIO": b"\x89PNG\r\n\x1a\n",
    "JPEGImageIO": b"\xff\xd8\xff",
    "TIFFImageIO": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_META_DATA = re.compile(rb"^\s*ElementDataFile\s*=\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_NRRD_DATA = re.compile(rb"^\s*data ?file\s*:\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_NRRD_UNITS = re.compile(rb"^\s*space units\s*:\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_NRRD_DIRECTIONS = re.compile(rb"^\s*space directions\s*:", re.MULTILINE | re.IGNORECASE)
_META_UNITS = re.compile(rb"^\s*DistanceUnits\s*=\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_MILLIMETRES = {"", "?", "???", "mm", "millimeter", "millimeters", "millimetre", "millimetres"}
_LPS = "left-posterior-superior"
"""The space to which ITK converts the anatomical spaces of NRRD; any other is left as it is."""
_EXPORT = "Export the image again, as NIfTI or NRRD."


def _check_head(path: Path) -> bytes:
    """Return the beginning of a file; for NRRD and MetaImage with line ends ``\\n``, for NRRD up to the voxels.

    A header that refers to voxels outside the folder of the file is refused: a client could read any file.

    Raises:
        InputRejected: NOT_AN_IMAGE if the content does not match the suffix, or UNREADABLE.
    """
    kind = _IO[path.suffix.lower()]
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(_BEGINS[kind]):
        raise reject("NOT_AN_IMAGE", f"The content of '{path.name}' does not match its suffix.", _EXPORT)
    if kind not in ("NrrdImageIO", "MetaImageIO"):
        return head
    # The NRRD and MetaImage readers accept all of these line ends.
    head = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if kind == "MetaImageIO":
        target = _META_DATA.search(head)
        ends = target is not None
    else:
        head, end, _ = head.partition(b"\n\n")
        target, ends = _NRRD_DATA.search(head), bool(end) or len(head) < HEAD_BYTES
    if not ends:
        raise reject("NOT_AN_IMAGE", f"The header of '{path.name}' does not end.", _EXPORT)
    name = target.group(1).decode(errors="replace") if target else "LOCAL"
    if name.upper() != "LOCAL" and (Path(name).name != name or "%" in name or name.upper().startswith("LIST")):
        reason = (
            f"The header of '{path.name}' refers to voxels in '{name}', which is not a single file in the same folder."
        )
        raise reject("UNREADABLE", reason, "Send one file that holds both header and voxels.")
    return head


def read_header(path: Path) -> Header:
    """Return the header; see `lib.data.formats.read_header`. Its `details` are those of `pictures.check_picture`."""
    head, in_pixels = _check_head(path), is_picture(path)
    details = check_picture(path) if in_pixels else None
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = f"'{path.name}' is not a readable image ({_last_line(error)})."
        raise reject("NOT_AN_IMAGE", reason, _EXPORT) from error
    # ITK takes the resolution for prints (DPI) of a JPEG or TIFF for a spacing.
    geometry = (reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    affine = AFFINE.copy() if in_pixels else ras_from_itk(*geometry)
    components = reader.GetNumberOfComponents()
    name = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    bits = re.search(r"(\d+)-bit", name)
    bytes_per_voxel = int(bits.group(1)) // 8 if bits else 8 if "double" in name or "64" in name else 4
    size, stored = tuple(reader.GetSize()), bytes_per_voxel * components
    # ITK does not take back a key of damaged bytes that it gave.
    keys = [key for key in reader.GetMetaDataKeys() if key.isascii()]
    metadata = {key: reader.GetMetaData(key) for key in keys}
    origins, notes = _slice_origins(size, metadata), tuple(filter(None, [metadata.get(NOTES)]))
    if _IO[path.suffix.lower()] == "NrrdImageIO":
        _check_space(path, head, metadata, size)
        _check_origins(path, origins, affine)
    elif _IO[path.suffix.lower()] == "MetaImageIO":
        found = {unit.decode(errors="replace").lower() for unit in _META_UNITS.findall(head)}
        if others := found - _MILLIMETRES:
            raise _other_units(path, others)
    return Header(
        path, "itk", size, components, stored, affine, None, details, origins, notes, metadata, in_pixels=in_pixels
    )


def _check_origins(path: Path, origins: NDArray[np.float64] | None, affine: NDArray[np.float64]) -> None:
    """Raise AMBIGUOUS_AFFINE if a program moved, turned or cropped a file and left the positions of its slices."""
    if origins is None:
        return
    ends = affine[:3, 3] + np.outer((0, len(origins) - 1), affine[:3, 2])
    if np.abs(origins[[0, -1]] - ends).max() > MAX_ORIGIN_SHIFT * float(np.linalg.norm(affine[:3, :2], axis=0).min()):
        reason = f"The positions of slices in the header of '{path.name}' ({SLICE_ORIGINS}) are not on its grid."
        raise reject("AMBIGUOUS_AFFINE", reason, f"Remove the key {SLICE_ORIGINS}, or use the file before the change.")


def _check_space(path: Path, head: bytes, metadata: Mapping[str, str], size: tuple[int, ...]) -> None:
    """Raise AMBIGUOUS_AFFINE if a NRRD file has other units than mm, or a volume does not say how it lies."""
    is_volume = sum(count > 1 for count in size) > 2
    if is_volume and (metadata.get("NRRD_space") != _LPS or not _NRRD_DIRECTIONS.search(head)):
        reason = f"The header of '{path.name}' does not say how its axes lie in the patient (space, space directions)."
        remedy = "Write space and space directions, for example by saving with 3D Slicer or SimpleITK."
        raise reject("AMBIGUOUS_AFFINE", reason, remedy)
    found = _NRRD_UNITS.search(head)
    units = {unit.strip().lower() for unit in found.group(1).decode(errors="replace").split('"')} if found else set()
    if others := units - _MILLIMETRES:
        raise _other_units(path, others)


def _other_units(path: Path, units: Set[str]) -> InputRejected:
    reason = f"'{path.name}' gives its positions in {', '.join(sorted(units))}, which programs read as mm."
    return reject("AMBIGUOUS_AFFINE", reason, "Write positions and spacing in millimetres.")


def _slice_origins(size: tuple[int, ...], metadata: Mapping[str, str]) -> NDArray[np.float64] | None:
    """Return the positions of slices that `write_series` wrote; None if there are none."""
    if len(size) != 3 or SLICE_ORIGINS not in metadata:
        return None
    try:
        origins = np.array(metadata[SLICE_ORIGINS].split(), np.float64).reshape(-1, 3)
    except ValueError:
        return None
    return origins if len(origins) == size[2] and np.isfinite(origins).all() else None


def read_voxels(path: Path, header: Header) -> NDArray[Any]:
    """Return the voxels in the shape of the header, first axis fastest; values of one voxel are the first axis."""
    try:
        return sitk.GetArrayFromImage(_reader(path).Execute()).T
    except RuntimeError as error:
        reason = f"The voxels of '{path.name}' ({header.shape}) cannot be read ({_last_line(error)})."
        raise reject("TRUNCATED", reason, "Copy or export the file again.") from error


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IO[path.suffix.lower()])
    reader.SetFileName(str(path))
    return reader


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1].strip()
