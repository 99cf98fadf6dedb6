"""Whether a file can hold what its header announces: memory is taken for what is there and not for what is said."""

from pathlib import Path

from lib.data.findings import reject
from lib.data.formats.volume import Header

DEFLATE_RATIO = 1032
"""The most that a byte of gzip can become."""
PICTURE_RATIO = 20_000
"""A blank picture or DICOM frame; PNG packs rows that repeat, JPEG blocks, and JPEG 2000 whole frames."""


def check_claim(header: Header, packed_ratio: int = 1) -> None:
    """Refuse a file too small for its header.

    Args:
        header: Of a file, or of a folder of files.
        packed_ratio: The most bytes that one byte of the file can become.
    Raises:
        InputRejected: TRUNCATED, or NOT_AN_IMAGE for a size of nothing.
    """
    if any(n < 1 for n in header.shape):
        reason = f"The header of '{header.path.name}' announces the shape {header.shape}."
        raise reject("NOT_AN_IMAGE", reason, "Export the image again.")
    held = _bytes(header.path)
    if header.size_bytes > held * packed_ratio:
        reason = f"'{header.path.name}' has {held:,} bytes, too few for the {header.size_bytes:,} of its header."
        raise reject("TRUNCATED", reason, "Copy or export the file again.")


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size
