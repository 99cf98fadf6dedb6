"""Check that a file can hold the voxels that its header announces, before memory is allocated for them."""

from pathlib import Path

from lib.data.findings import reject
from lib.data.formats.volume import Header

DEFLATE_RATIO = 1032
"""Largest number of bytes that one byte of gzip can expand to."""
PICTURE_RATIO = 20_000
"""Largest expansion of a blank picture or DICOM frame, which PNG, JPEG and JPEG 2000 compress most."""


def check_claim(header: Header, packed_ratio: int = 1) -> None:
    """Raise if a file is too small for the voxels that its header announces.

    Args:
        header: Header of a file, or of a folder of DICOM files.
        packed_ratio: Largest number of bytes that one byte of the file can expand to.
    Raises:
        InputRejected: TRUNCATED, or NOT_AN_IMAGE if an axis has no voxels.
    """
    if any(n < 1 for n in header.shape):
        reason = f"The header of '{header.path.name}' announces the shape {header.shape}."
        raise reject("NOT_AN_IMAGE", reason, "Export the image again.")
    held = _bytes(header.path)
    if header.size_bytes > held * packed_ratio:
        reason = (
            f"'{header.path.name}' has {held:,} bytes, too few for the {header.size_bytes:,} that its header announces."
        )
        raise reject("TRUNCATED", reason, "Copy or export the file again.")


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size
