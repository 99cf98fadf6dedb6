"""Read NIfTI-1 and NIfTI-2 files, plain or gzipped, without using more memory than the header announces."""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats.volume import Header
from lib.data.volumes.geometry import largest_shift

GZIP_MAGIC = b"\x1f\x8b"
MAGICS = {344: b"n+1", 4: b"n+2"}
HEADER_BYTES = 540
MAX_OFFSET_BYTES = 64 << 20
"""Largest accepted offset of the voxels, with room for header extensions."""
CHUNK_BYTES = 1 << 20
AGREEMENT_VOXELS = 0.5
"""Largest distance between the places of a voxel by sform and by qform, in voxels."""
OTHER_UNITS = {1: "metres", 3: "micrometres"}
"""Units by their code in the header; other codes than these count as millimetres in every program."""
RIGHT_ANGLE = 0.02
"""Largest cosine of the angle between two axes whose lengths are compared with the stated spacing."""
SLACK_BYTES = 1 << 20
"""Largest number of bytes after the voxels that is accepted as padding."""
_EXPORT = "Export the image again as NIfTI from the program that created it."


def stream(path: Path, piece_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the content in pieces of limited size, decompressed if the file is gzipped.

    Raises:
        EOFError: If a gzip stream ends early.
        IsalError: If a gzip stream is damaged.
    """
    with path.open("rb") as file:
        data = file.read(CHUNK_BYTES)
        if not data.startswith(GZIP_MAGIC):
            while data:
                yield data
                data = file.read(CHUNK_BYTES)
            return
        inflater = isal_zlib.decompressobj(wbits=31)
        while True:
            yield inflater.decompress(data, piece_bytes)
            data = inflater.unconsumed_tail
            if inflater.eof:
                # A gzip file may hold several members in sequence.
                data = inflater.unused_data or file.read(CHUNK_BYTES)
                if not data.startswith(GZIP_MAGIC):
                    return
                inflater = isal_zlib.decompressobj(wbits=31)
            elif not data:
                data = file.read(CHUNK_BYTES)
                if not data:
                    break
        while piece := inflater.decompress(b"", piece_bytes):
            yield piece
        if not inflater.eof:
            raise EOFError


def _head(path: Path) -> bytes:
    head = b""
    try:
        for piece in stream(path, HEADER_BYTES):
            head += piece
            if len(head) >= HEADER_BYTES:
                break
    except EOFError:
        pass  # the part before the end may still hold a complete header
    except IsalError as error:  # pyright: ignore[reportGeneralTypeIssues]  (its stub says less)
        raise reject("NOT_AN_IMAGE", f"'{path.name}' is not a valid gzip stream ({error}).", _EXPORT) from error
    return head[:HEADER_BYTES]


def _parse(path: Path, head: bytes) -> nib.Nifti1Header:
    if not any(head[at : at + 3] == magic for at, magic in MAGICS.items()):
        raise reject("NOT_AN_IMAGE", f"'{path.name}' does not hold a NIfTI header.", _EXPORT)
    kind = nib.Nifti2Header if head[4:7] == MAGICS[4] else nib.Nifti1Header
    try:
        return kind(head[: kind.template_dtype.itemsize], check=False)  # extensions follow, of any length
    except Exception as error:
        raise reject("TRUNCATED", f"The header of '{path.name}' is cut off ({error}).", _EXPORT) from error


def read_header(path: Path) -> Header:
    """Return the header; see `lib.data.formats.read_header`."""
    raw = _parse(path, _head(path))
    try:
        dtype = raw.get_data_dtype()
        if dtype.itemsize == 0:
            raise HeaderDataError("the voxels have no data type")
        scale = raw.get_slope_inter()
        offset = max(int(raw["vox_offset"].item()), raw.single_vox_offset)
        if offset > MAX_OFFSET_BYTES:
            raise HeaderDataError(f"the voxels begin at byte {offset:,}")
    except (HeaderDataError, KeyError, ValueError, OverflowError) as error:
        raise reject("NOT_AN_IMAGE", f"The header of '{path.name}' is not valid: {error}.", _EXPORT) from error
    shape = tuple(int(n) for n in raw["dim"][1 : 1 + min(max(int(raw["dim"][0]), 0), 7)])
    try:
        sform, qform = raw.get_sform(coded=True)[0], raw.get_qform(coded=True)[0]
    except (ValueError, HeaderDataError) as error:
        raise reject("BAD_AFFINE", f"The orientation in '{path.name}' is not valid: {error}.", _EXPORT) from error
    if unit := OTHER_UNITS.get(int(raw["xyzt_units"].item()) & 7):
        reason = f"'{path.name}' gives its spacing in {unit}, which some programs convert to mm and others do not."
        raise reject("AMBIGUOUS_AFFINE", reason, "Write spacing and affine in millimetres (xyzt_units 2).")
    affine = _agreed_affine(path, sform, qform, shape)
    if qform is None:
        _check_spacing(path, affine, raw.get_zooms(), shape)
    components = 2 if dtype.kind == "c" else len(dtype.names or "1")
    details = (dtype, scale, offset)
    return Header(path, "nifti", shape, components, dtype.itemsize, affine, details=details)


def _agreed_affine(
    path: Path, sform: NDArray[Any] | None, qform: NDArray[Any] | None, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the affine on which programs agree that read the sform first (nibabel) or the qform first (ITK).

    Raises:
        InputRejected: AMBIGUOUS_AFFINE if they place a voxel more than `AGREEMENT_VOXELS` apart, or if the file has
            neither: nibabel then centres the image and ITK does not, and they disagree on anterior and posterior.
    """
    if sform is None and qform is None:
        reason = f"'{path.name}' has neither an sform nor a qform (both codes are 0), so its orientation is unknown."
        remedy = "Convert it again from the scanner's files, or write the affine with code 1 if you are sure of it."
        raise reject("AMBIGUOUS_AFFINE", reason, remedy)
    affine = np.asarray(qform if sform is None else sform, np.float64)
    regular = np.isfinite(affine).all() and abs(np.linalg.det(affine)) > 0
    if sform is None or qform is None or not regular or not np.isfinite(qform).all():
        return affine
    shift = largest_shift(affine, qform, shape)
    if shift > AGREEMENT_VOXELS:
        codes = ["".join(map(str, nib.aff2axcodes(one))) for one in (affine, qform)]
        reason = (
            f"sform (axes {codes[0]}) and qform (axes {codes[1]}) of '{path.name}' place a voxel up to {shift:.1f} "
            "voxels apart: programs show the image in different places."
        )
        remedy = (
            "Write the right one to both, for example with nibabel: image.set_qform(affine, 1), set_sform(affine, 1)."
        )
        raise reject("AMBIGUOUS_AFFINE", reason, remedy)
    return affine


def _check_spacing(path: Path, sform: NDArray[Any], pixdim: Sequence[Any], shape: tuple[int, ...]) -> None:
    """Raise AMBIGUOUS_AFFINE if the spacing beside an sform differs from it: ITK takes the one, nibabel the other."""
    count = min(3, len(pixdim), len(shape))
    spacing_mm, stated_mm = np.linalg.norm(sform[:3, :count], axis=0), np.asarray(pixdim[:count], np.float64)
    if not count or not (np.isfinite(spacing_mm).all() and (spacing_mm > 0).all()):
        return
    axes = sform[:3, :count] / spacing_mm
    if np.abs(axes.T @ axes - np.eye(count)).max() > RIGHT_ANGLE:
        return  # the input gate refuses it with a better reason
    drift = np.abs(stated_mm / spacing_mm - 1) * np.array(shape[:count])
    if (drift > AGREEMENT_VOXELS).any():
        sizes = [" x ".join(f"{value:.4g}" for value in values) for values in (spacing_mm, stated_mm)]
        reason = f"The sform of '{path.name}' has a spacing of {sizes[0]} mm, and pixdim has {sizes[1]} mm."
        raise reject("AMBIGUOUS_AFFINE", reason, "Write the same spacing to both, for example by saving with nibabel.")


def read_voxels(path: Path, header: Header) -> NDArray[Any]:
    """Return the rescaled voxels in the shape of the header, first axis fastest; colours are the first axis."""
    dtype, (slope, intercept), offset = header.details
    need = offset + prod(header.shape) * dtype.itemsize
    buffer = np.empty(need, np.uint8)
    filled = extra = 0
    try:
        for piece in stream(path):
            taken = min(len(piece), need - filled)
            buffer[filled : filled + taken] = np.frombuffer(piece, np.uint8, taken)
            filled += taken
            extra += len(piece) - taken
            if extra > SLACK_BYTES:
                reason = f"'{path.name}' holds more than the {need:,} bytes that its header announces."
                raise reject("TOO_LARGE", reason, _EXPORT)
    except (EOFError, IsalError) as error:  # pyright: ignore[reportGeneralTypeIssues]  (its stub says less)
        reason = f"'{path.name}' is cut off or damaged after {filled:,} of {need:,} bytes."
        raise reject("TRUNCATED", reason, "Copy or export the file again.") from error
    if filled < need:
        reason = f"'{path.name}' holds only {filled:,} of the {need:,} bytes that its header announces."
        raise reject("TRUNCATED", reason, "Copy or export the file again.")
    voxels = np.frombuffer(buffer, dtype, prod(header.shape), offset).reshape(header.shape, order="F")
    if dtype.names:
        return np.stack([voxels[name] for name in dtype.names])
    if slope is not None and (slope, intercept) != (1, 0):
        return voxels * np.float32(slope) + np.float32(intercept)
    return voxels.astype(dtype.newbyteorder("="), copy=False)
