"""A teacher's outputs for whole cases: computed once, kept on disk by content and version.

A student then learns from a file: no pass of the teacher in any step, and nothing through which a gradient could reach
it. Its answer is that for the case as it is; what augmentation does to a patch's geometry is done to the answer too,
and under noise or another calibration the student is asked for what the teacher saw in the clean image.
"""

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.data.cases import Case
from lib.data.files.atomic import replacing
from lib.data.patches.dataset import content_key
from lib.data.pipeline import ImageSpec, read, window
from lib.models.inference.predictor import Predictor
from lib.models.sam.network import PromptedNetwork

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
"""Raise when a reading or a prediction changes, so that old files are passed over."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A network that is learned from, and never changed.

    Args:
        network: Segments, or answers without a prompt.
        spec: How it wants its images; the student's grid.
        version: What tells its weights from all others, such as their SHA-256.
    """

    network: nn.Module
    spec: ImageSpec
    version: str

    def outputs(self, cases: Sequence[Case], cache: Path, device: str | torch.device = "cpu") -> list[np.ndarray]:
        """Return the logits of every case, float16 ``(Z, K, X, Y)``, mapped from their files.

        Args:
            cases: With or without labels.
            cache: Folder of the files: ``K x 2`` bytes a voxel.
            device: Where the network runs.
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
                logger.info("the teacher answered %s, %d of %d", case.id, done, len(missing))
        # Copied on write: what reads it may not know that it is a file.
        return [np.load(path, mmap_mode="c") for path in paths]

    def _key(self, case: Case) -> str:
        return content_key([case.image], CACHE_VERSION, self.version, astuple(self.spec))

    def _write(self, predictor: Predictor, case: Case, path: Path) -> None:
        volume = window(read(case.image, self.spec).hu, self.spec.window_hu)
        with replacing(path) as partial:
            file: Any = None
            for start, logits in predictor.slabs(volume):
                slab = logits.permute(3, 0, 1, 2)
                if file is None:
                    shape = (volume.shape[3], *slab.shape[1:])
                    file = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
                file[start : start + len(slab)] = slab.cpu().numpy()
            file.flush()
