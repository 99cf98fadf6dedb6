"""Check headers of PNG, JPEG and TIFF files for what programs show differently, and read the indices of a palette."""

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from lib.data.findings import InputRejected, reject
from lib.data.volumes.geometry import ras_from_itk

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
"""Name of the format by suffix, as Pillow and messages give it."""
PICTURE_SUFFIXES = tuple(FORMATS)
AFFINE = ras_from_itk((1, 1), (0, 0), (1, 0, 0, 1))
"""Affine of every picture: one pixel is one unit, columns run to the left and rows to the back, as ITK reads a PNG."""
PALETTE = "palette"
"""`Header.details` of a PNG whose pixels are indices of a palette, and are read as their colours."""
INDICES = "indices"
"""The same for a label, whose values are the indices."""
_FEW_BITS = (1, 2, 4)
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES = 258, 259, 262, 277, 284
_TILES, _PARTS, _KIND = 322, 330, 339
"""Tags of a TIFF; the parts are the smaller copies of a pyramid."""
_JPEG_IN_TIFF = 7
_COLOURS = {(1, 1), (2, 3), (2, 4)}
"""Pairs of photometric interpretation and samples per pixel of TIFF files that ITK reads with their stored values."""
_STORED = {(1, 8), (1, 16), (2, 8), (2, 16), (3, 32)}
"""The same for pairs of sample format (1 unsigned, 2 signed, 3 float) and bits per sample."""
_AGAIN = "Save the picture (of several pages one; of a whole slide a region) as PNG, grey or RGB, without transparency."


def is_picture(path: Path) -> bool:
    """Return whether a file name has the suffix of a picture."""
    return path.suffix.lower() in FORMATS


def check_picture(path: Path) -> int | str | None:
    """Check that every program shows a picture in the same way, and that ITK reads its stored values.

    Returns:
        The `details` of its header: `PALETTE`, the factor by which ITK multiplies the grey values of a PNG of 1, 2 or 4
        bits, or None.
    Raises:
        InputRejected: AMBIGUOUS_AFFINE for an EXIF orientation, WRONG_DIMENSION for several pages, NOT_AN_IMAGE for
            other kinds of storage, TOO_LARGE.
    """
    kind, chunks = FORMATS[path.suffix.lower()], list[tuple[bytes, bytes]]()
    try:
        if kind == "PNG":
            chunks = list(_png_chunks(path))
        with Image.open(_png_head(chunks) if chunks else path, formats=[kind]) as image:
            # For a PNG without EXIF, the method of its own class would load the pixels.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
            fault = _tiff_fault(getattr(image, "tag_v2", {}))
            if image.mode == "LA" or (image.mode in ("1", "L", "I;16") and "transparency" in image.info):
                fault = "WRONG_DIMENSION", "has transparency"
            if kind == "JPEG" and image.mode not in ("L", "RGB"):
                fault = "NOT_AN_IMAGE", f"has the colours {image.mode}"
    except Image.DecompressionBombError as error:
        raise reject("TOO_LARGE", f"'{path.name}': {error}", "Crop the picture to the region of interest.") from error
    except (InputRejected, OSError) as error:
        if isinstance(error, OSError) and error.errno is None:  # Pillow's own error for an unknown file
            raise _unreadable(path, error) from error
        raise
    except Exception as error:  # Pillow raises many kinds of exceptions for a damaged file
        raise _unreadable(path, error) from error
    _check_orientation(path, orientation)
    if significant := _significant_bits(chunks):
        fault = "NOT_AN_IMAGE", f"has an sBIT chunk ({significant}), by which some programs divide the values"
    if fault:
        raise reject(fault[0], f"'{path.name}' {fault[1]}.", _AGAIN)
    return _png_details(chunks)


def read_indices(path: Path) -> NDArray[np.uint8]:
    """Return the palette indices of a PNG, ``(X, Y)``.

    Raises:
        InputRejected: TRUNCATED.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.asarray(image).T
    except Exception as error:  # Pillow raises many kinds of exceptions for a damaged file
        reason = f"The pixels of '{path.name}' cannot be read ({error})."
        raise reject("TRUNCATED", reason, "Copy or export the file again.") from error


def _check_orientation(path: Path, orientation: Any) -> None:
    if orientation in range(2, 9):
        reason = f"'{path.name}' has the EXIF orientation {orientation}: some programs turn it, and others do not."
        remedy = (
            "Turn the pixels, for example with `exiftran -a`, ImageMagick's `-auto-orient` or Pillow's "
            "`ImageOps.exif_transpose`; labels must be drawn on the turned picture."
        )
        raise reject("AMBIGUOUS_AFFINE", reason, remedy)


def _tiff_fault(tags: Any) -> tuple[str, str] | None:
    """Return code and text of what is wrong with a TIFF; None for a right one and for another format."""
    if not tags:
        return None
    if tags.next or _PARTS in tags:
        return "WRONG_DIMENSION", "holds several pages, as a stack or a whole-slide pyramid, and one is expected"
    samples = tags.get(_SAMPLES, 1)
    colours = (tags.get(_PHOTOMETRIC), samples)
    stored = set(zip(tags.get(_KIND, (1,) * samples), tags.get(_BITS, (1,)), strict=False))
    is_jpeg = colours == (6, 3) and tags.get(_COMPRESSION) == _JPEG_IN_TIFF
    one_block = _TILES not in tags and (samples == 1 or tags.get(_PLANES, 1) == 1)
    if one_block and len(stored) == 1 and stored <= _STORED and (colours in _COLOURS or is_jpeg):
        return None
    bits = "/".join(str(number) for number in tags.get(_BITS, (1,)))
    how = f"photometric interpretation {colours[0]}, {samples} samples of {bits} bits"
    tiles = ", in tiles" if _TILES in tags else ""
    planes = ", a plane for each colour" if samples > 1 and tags.get(_PLANES, 1) != 1 else ""
    return "NOT_AN_IMAGE", f"is a TIFF of a kind that is not read here ({how}{tiles}{planes})"


def _png_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each chunk of a PNG except the pixels and the end; EXIF may follow the pixels."""
    with path.open("rb") as file:
        file.seek(8)
        while len(start := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", start)
            if kind in (b"IDAT", b"IEND"):
                file.seek(length + 4, 1)
            else:
                yield kind, file.read(length + 4)


def _png_head(chunks: list[tuple[bytes, bytes]]) -> BytesIO:
    """Return a PNG file without pixels."""
    parts = [struct.pack(">I4s", max(len(content) - 4, 0), kind) + content for kind, content in chunks]
    end = struct.pack(">I4sI", 0, b"IEND", 0xAE426082)
    return BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + end)


def _significant_bits(chunks: list[tuple[bytes, bytes]]) -> str:
    """Return the bits of each colour that a PNG declares significant, if ITK would shift the others away."""
    found = dict(chunks)
    if b"sBIT" not in found:
        return ""
    bits, colour_type = found[b"IHDR"][8:10]
    bits, significant = 8 if colour_type == 3 else bits, found[b"sBIT"][:-4]
    return "/".join(map(str, significant)) if any(count != bits for count in significant) else ""


def _png_details(chunks: list[tuple[bytes, bytes]]) -> int | str | None:
    if not chunks:
        return None
    bits, colour_type = chunks[0][1][8:10]  # fields of the IHDR chunk, which is the first
    if colour_type == 3:
        return PALETTE
    return 255 // (2**bits - 1) if colour_type == 0 and bits in _FEW_BITS else None


def _unreadable(path: Path, error: Exception) -> InputRejected:
    reason = f"'{path.name}' is not a readable picture ({str(error) or type(error).__name__})."
    return reject("NOT_AN_IMAGE", reason, "Export the picture again, as PNG.")
