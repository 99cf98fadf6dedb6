"""Compute the scores of one image from several sampled predictions of one preprocessed volume."""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.data.pipeline import open_image, read
from lib.evaluation.selection.case_scores import UncertaintyMaps, case_scores
from lib.evaluation.selection.uncertainty import summarise_samples
from lib.jobs.failure_watch import check_finite
from lib.models.inference.embedding import embed_case
from lib.models.inference.onnx import with_fastest_runtime
from lib.models.inference.predictor import Predictor
from lib.models.inference.samples import MemberStack, MonteCarloDropout, augmented_views
from lib.ops.mirror import Mirroring
from lib.ops.resample import running_argmax
from lib.records.scores import CaseScore, ScoreSource
from lib.records.versions import STARTER
from lib.tasks.serving.weights import (
    NoWeights,
    ServedWeights,
    build_network,
    check_schema,
    find_weights,
    open_task_versions,
    served_weights,
)
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.blocks import ScoreSpec

Progress = Callable[[int, int], None]


def current_score_source(app_dir: str | Path, task: TaskSpec) -> ScoreSource:
    """Return the source of new scores of a task: its served version, and a hash of the score settings in app.toml.

    Raises:
        NoWeights: If no version of the task can be served.
        SchemaMismatch: If the served version has other labels than app.toml declares.
    """
    assert task.scores is not None, "only tasks with scores are scored"
    # The pool and the choice of the aggregation do not change the scores.
    settings = f"({replace(task.scores, pool=0, over='')!r}, {task.image.legacy_text()})"
    if task.mirroring != Mirroring():
        # Keys from before this part still match if the views are those of that time.
        settings += repr(task.mirroring)
    return ScoreSource(
        task.name, served_weights(app_dir, task).name, hashlib.sha256(settings.encode()).hexdigest()[:16]
    )


class Scorer:
    """Score images with the version of a task that is served when this object is created.

    Args:
        app_dir: Folder of the app.
        task: Task with scores.
        device: Device of the networks.
    Raises:
        NoWeights: If no version of the task can be served.
        ValueError: If app.toml selects samples by dropout and the network has no dropout.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec, *, device: str | torch.device = "cpu") -> None:
        assert task.scores is not None, "only tasks with scores are scored"
        self.task, self.spec, self.source = task, task.scores, current_score_source(app_dir, task)
        networks = [build_network(task, path).to(device) for path in self._weights(app_dir)]
        self._network = networks[0]
        self._single = self._predictor(self._network, device)
        self._sampling = self._predictor(MemberStack(_members(networks, self.spec, task, device)), device)

    @property
    def passes(self) -> int:
        """Forward passes that the score of one image takes."""
        return self.spec.samples

    def score(self, path: str | Path, progress: Progress | None = None) -> CaseScore:
        """Return the numbers and the embedding of an image.

        Args:
            path: File in a format that the input gate accepts, or folder with one DICOM series.
            progress: Called with (slices done, total slices).
        Raises:
            InputRejected: If the input gate rejects the image.
            BrokenOutput: If the network's output has values that are not finite.
        """
        volume = self._read(path)
        maps = self.maps(volume, progress)
        numbers = case_scores(
            maps,
            self.task.label_values,
            self.task.image.spacing_mm,
            top_ml=self.spec.top_ml,
            margin_mm=self.spec.margin_mm,
        )
        return CaseScore(numbers, self._embed(volume, torch.from_numpy(maps.label)))

    def embed(self, path: str | Path, progress: Progress | None = None) -> CaseScore:
        """Return only the embedding, from one prediction; arguments and errors as for `score`."""
        volume = self._read(path)
        return CaseScore(embedding=self._embed(volume, self._labels(volume, progress)))

    def maps(self, volume: torch.Tensor, progress: Progress | None = None) -> UncertaintyMaps:
        """Return the uncertainty maps of several sampled predictions of a preprocessed volume ``(1, X, Y, Z)``."""
        maps = UncertaintyMaps.empty(self.spec.samples, volume.shape[1:])
        # The fixed seed makes the dropout masks the same for every image and every run.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for start, slab in self._sampling.slabs(volume, progress):
                maps.fill(start, summarise_samples(check_finite(slab).unflatten(0, (self.spec.samples, -1))))
        return maps

    def _weights(self, app_dir: str | Path) -> list[Path]:
        served = served_weights(app_dir, self.task)
        if self.spec.by != "ensemble":
            return [served.path]
        return [served.path, *_served_before(app_dir, self.task, served)][: self.spec.samples]

    def _predictor(self, network: nn.Module, device: str | torch.device) -> Predictor:
        image = self.task.image
        return Predictor(network, roi=image.roi, slice_offsets=image.slice_offsets, device=device)

    def _read(self, path: str | Path) -> torch.Tensor:
        return read(open_image(path, self.task.image), self.task.image).normalised()

    def _labels(self, volume: torch.Tensor, progress: Progress | None) -> torch.Tensor:
        parts = [running_argmax(check_finite(slab)) for _, slab in self._single.slabs(volume, progress)]
        return torch.cat(parts, dim=-1)

    def _embed(self, volume: torch.Tensor, labels: torch.Tensor) -> list[float]:
        image = self.task.image
        vector = embed_case(self._network.eval(), volume, labels > 0, roi=image.roi, slice_offsets=image.slice_offsets)
        return np.round(vector.numpy().astype(float), 5).tolist()


def _members(networks: list[nn.Module], spec: ScoreSpec, task: TaskSpec, device: str | torch.device) -> list[nn.Module]:
    if spec.by == "dropout":
        return [MonteCarloDropout(networks[0]) for _ in range(spec.samples)]
    # An ensemble with fewer versions than samples is filled up with augmented views of its versions.
    views_by_network = [
        augmented_views(with_fastest_runtime(network, device), spec.samples, task.image.standardised, task.mirroring)
        for network in networks
    ]
    return [view for group in zip(*views_by_network, strict=True) for view in group][: spec.samples]


def _served_before(app_dir: str | Path, task: TaskSpec, served: ServedWeights) -> list[Path]:
    """Return the weights of the versions with the same labels that were served before this one, the latest first."""
    rows = open_task_versions(app_dir, task).ledger.rows("decision", task.name)
    names = [row.body["champion"] for row in reversed(rows)]
    found = []
    for name in dict.fromkeys([*names, STARTER]):
        if name in ("", served.name):
            continue
        # Skip removed versions, a missing starter, and versions with other labels (SchemaMismatch, a ValueError).
        with contextlib.suppress(NoWeights, ValueError):
            version = find_weights(app_dir, task, name)
            if check_schema(task, name, version.card) == check_schema(task, served.name, served.card):
                found.append(version.path)
    return found
