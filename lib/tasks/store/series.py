"""Convert a folder of one DICOM series to NIfTI, for viewers and clients that take one file."""

import shutil
from hashlib import sha256
from pathlib import Path

from lib.data.findings import InputRejected
from lib.data.formats import load, read_header
from lib.data.volumes.save import write_volume


def series_file(folder: Path, cache: Path) -> Path:
    """Return a NIfTI file with the voxels and the grid of a series; it is written again only if the series changes.

    Args:
        folder: Folder of the series.
        cache: Folder of the converted files.
    Returns:
        ``<cache>/<folder>/<state>/<folder>.nii.gz``.
    Raises:
        InputRejected: If the series cannot be read, has gaps, or has no grid with right angles.
    """
    stats = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    state = sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()[:16]
    target = cache / folder.name / state / f"{folder.name}.nii.gz"
    if not target.exists():
        header = read_header(folder)
        if header.findings:
            raise InputRejected(list(header.findings))
        volume = load(folder, header)
        shutil.rmtree(cache / folder.name, ignore_errors=True)
        write_volume(volume.voxels, volume.affine, target)
    return target
