"""Cache of images that users click on: each image is read and checked once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from lib.data.formats import Volume
from lib.data.intensity import Scale
from lib.data.pipeline import ImageSpec, find_scales, load_label
from lib.data.validate import check
from lib.data.volumes.stack import Stack
from lib.tasks.click.cache import Cache, CacheCounts

MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image that passed the input gate.

    Args:
        volume: Voxels and affine of the image.
        stack: Slices of the image.
        digest: SHA-256 of voxels and geometry; it does not depend on where the file is.
        scales: Maps of the channels to the range of the network.
    """

    volume: Volume
    stack: Stack
    digest: str
    scales: tuple[Scale, ...]

    def label(self, path: str | Path) -> dict[int, Tensor]:
        """Return the slices ``(H, W)`` of a label file that are not empty, by index.

        Raises:
            InputRejected: If the file is not a label on the grid of the image.
        """
        volume = self.volume
        return self.stack.masks(load_label(path, volume.voxels.shape, volume.affine, in_pixels=volume.in_pixels))


class ImageCache:
    """Cache of opened images; thread-safe.

    Args:
        spec: Modality and intensities of the task.
        max_bytes: Limit for the bytes of all voxels; a larger image is read again for every click.
    """

    def __init__(self, spec: ImageSpec, max_bytes: int = MAX_BYTES) -> None:
        self._spec = spec
        self._cache: Cache[OpenedImage] = Cache(max_bytes, lambda opened: opened.stack.nbytes)

    def open(self, path: str | Path) -> OpenedImage:
        """Return the image of a file, or of a folder with one DICOM series; a file that changed is read again.

        Raises:
            InputRejected: If the input gate rejects the image.
        """
        path = Path(path)
        return self._cache.get_or_make(_file_state(path), lambda: _open(path, self._spec))

    @property
    def counts(self) -> CacheCounts:
        """Usage of the cache."""
        return self._cache.counts


def _file_state(path: Path) -> tuple[object, ...]:
    """Return path, modification times and sizes, which change with the files; the input gate reports missing files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [file.stat() for file in files if file.exists()]
    return (str(path), *((stat.st_mtime_ns, stat.st_size) for stat in stats))


def _open(path: Path, spec: ImageSpec) -> OpenedImage:
    volume = check(path, modality=spec.modality)
    voxels, content = volume.voxels, hashlib.sha256()
    for channel in (voxels, *volume.others):
        content.update(np.ascontiguousarray(channel.T).data)
    content.update(f"{voxels.dtype.str} {voxels.shape} {volume.affine.tolist()}".encode())
    return OpenedImage(volume, Stack(volume), content.hexdigest(), find_scales(volume, spec))
