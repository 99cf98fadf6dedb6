"""Compute a teacher's logits for whole cases once and cache them on disk, keyed by content and teacher version.

The student learns from these files. A training step therefore runs no forward pass of the teacher, and no gradient can
reach it. The logits belong to the case without augmentation. Geometric augmentation transforms image and logits alike;
noise and intensity augmentation change the image only, so the student must reproduce the answer to the clean image.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.files.atomic import replacing
from lib.data.patches.case_cache import image_key
from lib.data.pipeline import ImageSpec, read
from lib.models.inference.predictor import Predictor
from lib.models.sam.network import PromptedNetwork

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
"""Increase this number when reading or prediction changes; older files are then not used."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen network from whose logits a student learns.

    Args:
        network: Segmentation network, or prompted network that is run without a prompt.
        spec: Grid, window and slices of the teacher's input; the grid is the student's grid.
        version: Identifier of the weights, such as their SHA-256.
    """

    network: nn.Module
    spec: ImageSpec
    version: str

    def outputs(self, cases: Sequence[Case], cache: Path, device: str | torch.device = "cpu") -> list[np.ndarray]:
        """Return the logits of every case as memory-mapped arrays, float16 ``(Z, K, X, Y)``.

        Args:
            cases: Cases with or without labels.
            cache: Folder of the cached files, which take ``2 K`` bytes per voxel.
            device: Device on which the network runs.
        """
        paths = [cache / f"{self._key(case)}.npy" for case in cases]
        missing = [(case, path) for case, path in zip(cases, paths, strict=True) if not path.exists()]
        if missing:
            predictor = Predictor(
                self.network.eval(),
                roi=self.spec.roi,
                slice_offsets=self.spec.slice_offsets,
                device=device,
                fixed=isinstance(self.network, PromptedNetwork),
            )
            cache.mkdir(parents=True, exist_ok=True)
            for done, (case, path) in enumerate(missing, start=1):
                self._write(predictor, case, path)
                logger.info("teacher logits computed for %s, %d of %d", case.id, done, len(missing))
        # Copy-on-write mode: readers may change the array, and the cached file stays unchanged.
        return [np.load(path, mmap_mode="c") for path in paths]

    def _key(self, case: Case) -> str:
        return image_key(case.image, self.spec, CACHE_VERSION, self.version, tuple(self.spec.legacy_fields().values()))

    def _write(self, predictor: Predictor, case: Case, path: Path) -> None:
        volume = read(case.image, self.spec).normalised()
        with replacing(path) as partial:
            file: Any = None
            for start, logits in predictor.slabs(volume):
                slab = logits.permute(3, 0, 1, 2)
                if file is None:
                    shape = (volume.shape[3], *slab.shape[1:])
                    file = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
                file[start : start + len(slab)] = slab.cpu().numpy()
            file.flush()
