"""Images that people click on: read and checked once, and kept while they do."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from lib.data.formats import Volume
from lib.data.pipeline import load_label
from lib.data.validate import check
from lib.data.volumes.stack import Stack
from lib.tasks.click.cache import Cache, Counts

MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Opened:
    """An image that the gate let pass.

    Args:
        volume: Its voxels.
        stack: Its slices.
        digest: SHA-256 of voxels and geometry: the same for the same image, wherever its file lies.
    """

    volume: Volume
    stack: Stack
    digest: str

    def label(self, path: str | Path) -> dict[int, Tensor]:
        """Return the slices ``(H, W)`` of a label file that hold anything.

        Raises:
            InputRejected: If it is no label on the grid of the image.
        """
        return self.stack.masks(load_label(path, self.volume.voxels.shape, self.volume.affine))


class Volumes:
    """Opened images, as many as fit. Threads share it.

    Args:
        max_bytes: What their voxels may take; a larger image is read anew for each click.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._cache: Cache[Opened] = Cache(max_bytes, lambda opened: opened.stack.nbytes)

    def open(self, path: str | Path) -> Opened:
        """Return the image of a file, or of a folder of one DICOM series, as it is now.

        Raises:
            InputRejected: If the gate refuses it.
        """
        path = Path(path)
        return self._cache.keep(_state(path), lambda: _opened(path))

    @property
    def counts(self) -> Counts:
        """What is kept."""
        return self._cache.counts


def _state(path: Path) -> tuple[object, ...]:
    """Return what changes when a file does; one that is not there is no state, and the gate will say so."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    known = [file.stat() for file in files if file.exists()]
    return (str(path), *((each.st_mtime_ns, each.st_size) for each in known))


def _opened(path: Path) -> Opened:
    volume = check(path)
    voxels = volume.voxels
    content = hashlib.sha256(np.ascontiguousarray(voxels.T).data)
    content.update(f"{voxels.dtype.str} {voxels.shape} {volume.affine.tolist()}".encode())
    return Opened(volume, Stack(volume), content.hexdigest())
