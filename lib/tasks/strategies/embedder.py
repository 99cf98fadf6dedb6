"""Embed an image by the encoder of a click task with its published weights; this needs no label and no training."""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from lib.data.intensity import apply_scales
from lib.data.pipeline import find_scales
from lib.data.validate import check
from lib.data.volumes.stack import Stack
from lib.jobs.failure_watch import check_finite
from lib.models.sam import PromptedNetwork
from lib.models.sam.build import find_foundation
from lib.models.sam.foundation import NoFoundation
from lib.models.sam.predictor import ClickPredictor, Plane
from lib.ops.frame import Frame
from lib.records.card import hash_file
from lib.records.scores import CaseScore, ScoreSource
from lib.tasks.serving.weights import NoWeights, build_network
from lib.tasks.spec import TaskSpec
from lib.tasks.strategies.scorer import Progress

SLICES = 5
"""Number of slices, evenly spaced, that represent a volume."""


def embedding_source(task: TaskSpec) -> ScoreSource:
    """Return the source of a click task's embeddings: the SHA-256 of the published weights, and how images are read.

    Raises:
        NoWeights: If the published weights are missing.
    """
    try:
        path = find_foundation(task.model, task.foundation)
    except NoFoundation as error:
        raise NoWeights(str(error)) from error
    facts = path.stat()
    digest = _hash_weights(path, facts.st_size, facts.st_mtime_ns)
    settings = f"({task.model!r}, {SLICES}, {task.image!r})"
    return ScoreSource(task.name, digest[:16], hashlib.sha256(settings.encode()).hexdigest()[:16])


class Embedder:
    """Embed images by the frozen encoder of a click task.

    Args:
        task: Task of kind "click".
        device: Device of the network.
    Raises:
        NoWeights: If the published weights are missing.
    """

    passes = 1

    def __init__(self, task: TaskSpec, *, device: str | torch.device = "cpu") -> None:
        self.task, self.source = task, embedding_source(task)
        network = build_network(task)
        assert isinstance(network, PromptedNetwork), "a click task has a prompted network"
        self._predictor = ClickPredictor(network, device=device)

    def score(self, path: str | Path, progress: Progress | None = None) -> CaseScore:
        """Return the embedding of an image, ``(E,)``, the mean over slices and positions, with a norm of 1.

        Args:
            path: File in a format that the input gate accepts, or folder with one DICOM series.
            progress: Called with (slices done, total slices).
        Raises:
            InputRejected: If the input gate rejects the image.
            BrokenOutput: If the network's output has values that are not finite.
        """
        volume = check(path, modality=self.task.image.modality)
        stack, scales = Stack(volume), find_scales(volume, self.task.image)
        chosen = middle_slices(len(stack))
        frame, total = _whole_slice(stack), torch.zeros(())
        for done, index in enumerate(chosen, start=1):
            image = apply_scales(stack.plane(index), scales)
            features = self._predictor.embedding(Plane(image, stack.spacing_mm), frame)
            total = total + check_finite(features)[0].float().cpu().mean(dim=(1, 2))
            if progress:
                progress(done, len(chosen))
        # No numbers: only scored strategies need them.
        return CaseScore({}, np.round((total / total.norm()).numpy().astype(float), 5).tolist())

    embed = score


def middle_slices(length: int) -> list[int]:
    """Return the slices that represent a volume: the middles of `SLICES` equal parts, without repeats."""
    middles = (np.arange(SLICES) + 0.5) * length / SLICES
    return np.unique(middles.astype(int)).tolist()


def _whole_slice(stack: Stack) -> Frame:
    """Return the smallest square around a slice; outside the slice, the values of its border are repeated."""
    height, width = ((size - 1) * mm for size, mm in zip(stack.plane_shape, stack.spacing_mm, strict=True))
    sides = (size * mm for size, mm in zip(stack.plane_shape, stack.spacing_mm, strict=True))
    return Frame(height / 2, width / 2, max(sides))


@lru_cache(maxsize=4)
def _hash_weights(path: Path, size: int, modified_ns: int) -> str:
    """Return the SHA-256 of a file; size and modification time are part of the key of the cache."""
    return hash_file(path)
