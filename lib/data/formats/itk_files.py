"""Read NRRD, MetaImage and plain pictures through ITK, from LPS to RAS+."""

import re
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats.volume import Header
from lib.data.geometry import ras_from_itk

HEAD_BYTES = 64 << 10
_DETACHED = re.compile(rb"^\s*(?:ElementDataFile\s*=|data ?file\s*:)\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_EXPORT = "Export the image again, as NIfTI or NRRD."


def _refuse_foreign_data(path: Path) -> None:
    """Raise if a header points to voxels outside its own folder: a client could read any file through it."""
    if path.suffix.lower() not in (".mha", ".mhd", ".nrrd", ".nhdr"):
        return
    with path.open("rb") as file:
        target = _DETACHED.search(file.read(HEAD_BYTES).split(b"\n\n")[0])
    name = target.group(1).decode(errors="replace") if target else "LOCAL"
    if name.upper() != "LOCAL" and (Path(name).name != name or "%" in name or name.upper().startswith("LIST")):
        reason = f"'{path.name}' keeps its voxels in '{name}', outside one file in its own folder."
        raise reject("UNREADABLE", reason, "Send one file that holds header and voxels.")


def read_header(path: Path) -> Header:
    """Return the header; see `lib.data.formats.read_header`."""
    _refuse_foreign_data(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = f"'{path.name}' is no readable image ({_last_line(error)})."
        raise reject("NOT_AN_IMAGE", reason, _EXPORT) from error
    affine = ras_from_itk(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    components = reader.GetNumberOfComponents()
    name = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    bits = re.search(r"(\d+)-bit", name)
    bytes_per_voxel = int(bits.group(1)) // 8 if bits else 8 if "double" in name or "64" in name else 4
    return Header(path, "itk", tuple(reader.GetSize()), components, bytes_per_voxel * components, affine)


def read_voxels(path: Path, header: Header) -> NDArray[Any]:
    """Return the voxels in the shape of the header, first axis fastest."""
    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
    except RuntimeError as error:
        reason = f"The voxels of '{path.name}' ({header.shape}) cannot be read ({_last_line(error)})."
        raise reject("TRUNCATED", reason, "Copy or export the file again.") from error


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1].strip()
