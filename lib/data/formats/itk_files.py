"""Read NRRD, MetaImage, PNG and JPEG files with ITK, and convert LPS to RAS+."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats.volume import NOTES, SLICE_ORIGINS, Header
from lib.data.volumes.geometry import ras_from_itk

HEAD_BYTES = 64 << 10
_IO = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".png": "PNGImageIO",
    ".jpg": "JPEGImageIO",
    ".jpeg": "JPEGImageIO",
}
"""ITK reader by suffix. Without it, ITK would choose any reader that accepts the content."""
_BEGINS = {
    "NrrdImageIO": b"NRRD000",
    "MetaImageIO": b"",
    "PNGImageIO": b"\x89PNG\r\n\x1a\n",
    "JPEGImageIO": b"\xff\xd8\xff",
}
_META_DATA = re.compile(rb"^\s*ElementDataFile\s*=\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_NRRD_DATA = re.compile(rb"^\s*data ?file\s*:\s*(.*?)\s*$", re.MULTILINE | re.IGNORECASE)
_EXPORT = "Export the image again, as NIfTI or NRRD."


def _check_head(path: Path) -> None:
    """Raise if the content does not match the suffix, or the header refers to voxels outside the folder of the file.

    With such a header, a client could read any file on the server.
    """
    kind = _IO[path.suffix.lower()]
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(_BEGINS[kind]):
        raise reject("NOT_AN_IMAGE", f"The content of '{path.name}' does not match its suffix.", _EXPORT)
    if kind not in ("NrrdImageIO", "MetaImageIO"):
        return
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


def read_header(path: Path) -> Header:
    """Return the header; see `lib.data.formats.read_header`."""
    _check_head(path)
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = f"'{path.name}' is not a readable image ({_last_line(error)})."
        raise reject("NOT_AN_IMAGE", reason, _EXPORT) from error
    affine = ras_from_itk(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    components = reader.GetNumberOfComponents()
    name = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    bits = re.search(r"(\d+)-bit", name)
    bytes_per_voxel = int(bits.group(1)) // 8 if bits else 8 if "double" in name or "64" in name else 4
    size, stored = tuple(reader.GetSize()), bytes_per_voxel * components
    # ITK does not take back a key of damaged bytes that it gave.
    keys = [key for key in reader.GetMetaDataKeys() if key.isascii()]
    metadata = {key: reader.GetMetaData(key) for key in keys}
    origins, notes = _slice_origins(size, metadata), tuple(filter(None, [metadata.get(NOTES)]))
    return Header(path, "itk", size, components, stored, affine, metadata=metadata, origins=origins, notes=notes)


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
