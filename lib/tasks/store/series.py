"""Convert a folder of one DICOM series to one file, for viewers and clients that take no folder."""

import glob
import shutil
from hashlib import sha256
from pathlib import Path

from lib.data.formats import load
from lib.data.volumes.save import write_series


def series_file(folder: Path, cache: Path) -> Path:
    """Return one file with the voxels and the grid of a series; it is written again only if the series changes.

    Args:
        folder: Folder of the series.
        cache: Folder of the converted files.
    Returns:
        ``<cache>/<folder>/<state>/<folder>`` with the suffix of `write_series`.
    Raises:
        InputRejected: If the series cannot be assembled to a volume.
    """
    stats = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    state = sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()[:16]
    place = cache / folder.name / state
    found = next(place.glob(f"{glob.escape(folder.name)}.n*"), None)
    if found is not None:
        return found
    volume = load(folder)
    shutil.rmtree(cache / folder.name, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    return write_series(volume, place, folder.name)
