"""A synthetic CT with thirteen organs in closed form, and a module that returns their logits in place of a network."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

SHAPE = (512, 512, 120)
AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])
"""Affine with LPS axes, as scanners write it."""
ORGANS = 13
NOISE_HU = 12.0


def ellipsoids() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return centres and half axes of the organs, ``(13, 3)`` each, in mm; some organs touch."""
    rng = np.random.default_rng(0)
    middle = np.diag(AFFINE)[:3] * (np.array(SHAPE) - 1) / 2
    centres = middle + rng.uniform(-1, 1, (ORGANS, 3)) * (105, 70, 105)
    return centres, rng.uniform((22, 22, 25), (50, 45, 60), (ORGANS, 3))


def logits(shape: Sequence[int], affine: NDArray[Any], start: Sequence[int], result: torch.Tensor) -> torch.Tensor:
    """Return logits ``(14, *shape)`` of a block of a grid: 0 for background, else about the depth in an organ in mm."""
    centres, halves = ellipsoids()
    terms = []
    for axis, (size, first) in enumerate(zip(shape, start, strict=True)):
        mm = affine[axis, 3] + affine[axis, axis] * (first + np.arange(size))
        apart = (mm - centres[:, axis, None]) / halves[:, axis, None]
        terms.append(torch.from_numpy(halves.mean(1, keepdims=True) / 2 * (1 / 3 - apart**2)).float())
    result[0] = 0
    for organ, (x, y, z) in enumerate(zip(*terms, strict=True), start=1):
        torch.add((x[:, None] + y)[..., None], z, out=result[organ])
    return result


def truth() -> NDArray[np.uint8]:
    """Return the organ label of every voxel of the file."""
    shape, plane = (*SHAPE[:2], 1), torch.empty(ORGANS + 1, *SHAPE[:2], 1)
    planes = [logits(shape, AFFINE, (0, 0, k), plane).argmax(0) for k in range(SHAPE[2])]
    return torch.cat(planes, -1).to(torch.uint8).numpy()


def write_scan(path: Path) -> None:
    """Write the CT as int16: trunk with organs and spine, on a table in air, with noise."""
    rng = np.random.default_rng(1)
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE[:2]), indexing="ij")
    trunk = (x / 0.85) ** 2 + (y / 0.62) ** 2
    plane = np.where(trunk < 0.93, 40.0, np.where(trunk < 1, -100.0, -1000.0))
    plane[(y > 0.68) & (y < 0.71)] = -200
    plane[x**2 + (y - 0.42) ** 2 < 0.008] = 400
    tissue = np.concatenate([[0], rng.uniform(-60, 160, ORGANS)])
    voxels = np.empty(SHAPE, np.int16, order="F")
    for k, label in enumerate(np.moveaxis(truth(), -1, 0)):
        hu = np.where(label > 0, tissue[label], plane) + rng.normal(0, NOISE_HU, label.shape)
        voxels[..., k] = np.rint(hu.clip(-1024, 3071))
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)


class Organs(torch.nn.Module):
    """Return the logits of the organs for every window, and add up the time for this in ``seconds``.

    All results share one buffer, because the time to allocate and free memory belongs to the network.

    Args:
        affine: Grid index to mm of the volume that the windows are cut from.
        starts: First index of every window, in the order of the windows.
    """

    def __init__(self, affine: NDArray[Any], starts: Sequence[Sequence[int]] = ()) -> None:
        super().__init__()
        self.affine, self.seconds, self._starts = affine, 0.0, list(starts)
        self._memory = torch.empty(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, 14, *S)`` of the next windows ``(B, 1, *S)``."""
        starts, self._starts = self._starts[: len(images)], self._starts[len(images) :]
        return self.at(images, starts)

    def at(self, images: torch.Tensor, starts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return logits of windows whose first indices are given."""
        begin = time.perf_counter()
        found = self._memory.resize_(len(starts), ORGANS + 1, *images.shape[2:])
        for window, start in zip(found, starts, strict=True):
            logits(images.shape[2:], self.affine, start, window)
        self.seconds += time.perf_counter() - begin
        return found
