"""One image in, what the strategies want to know of it out: several answers in one pass over the one reading."""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.data.pipeline import read, window
from lib.data.validate import check
from lib.evaluation.selection.case_scores import Maps, case_scores
from lib.evaluation.selection.uncertainty import opinion
from lib.jobs.watch import check_finite
from lib.models.inference.embedding import embedding
from lib.models.inference.onnx import quickest
from lib.models.inference.predictor import Predictor
from lib.models.inference.samples import Dropping, Samples, views
from lib.ops.resample import running_argmax
from lib.records.scores import CaseScore, Maker
from lib.records.versions import STARTER
from lib.tasks.serving.weights import NoWeights, build_network, check_schema, served_weights, shelf, weights_named
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.blocks import ScoreSpec

Progress = Callable[[int, int], None]


def maker_of(app_dir: str | Path, task: TaskSpec) -> Maker:
    """Return who would score a case of a task now: the version that serves it, and what app.toml says of scores.

    Raises:
        NoWeights: If nothing serves the task.
        SchemaMismatch: If what is served gives other labels than app.toml declares.
    """
    assert task.scores is not None, "only a task with scores has strategies that ask for them"
    # Neither the pool nor the choice of a number changes any number.
    said = repr((replace(task.scores, pool=0, over=""), task.image))
    return Maker(task.name, served_weights(app_dir, task).name, hashlib.sha256(said.encode()).hexdigest()[:16])


class Scorer:
    """Score images with the version of a task that is served when this is made.

    Args:
        app_dir: The app's folder.
        task: A task with scores.
        device: Where the networks run.
    Raises:
        NoWeights: If nothing serves the task.
        ValueError: If its network drops nothing, where app.toml wants samples by dropout.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec, *, device: str | torch.device = "cpu") -> None:
        assert task.scores is not None, "only a task with scores has strategies that ask for them"
        self.task, self.spec, self.maker = task, task.scores, maker_of(app_dir, task)
        networks = [build_network(task, path).to(device) for path in self._weights(app_dir)]
        self._network = networks[0]
        self._one = self._predictor(self._network, device)
        self._all = self._predictor(Samples(_members(networks, self.spec, task, device)), device)

    def score(self, path: str | Path, progress: Progress | None = None) -> CaseScore:
        """Return the numbers and the embedding of an image.

        Args:
            path: A file in any format the gate accepts, or a folder of one DICOM series.
            progress: Called with (slices done, slices in all).
        Raises:
            InputRejected: If the gate refuses the image.
            BrokenOutput: If the network's output holds values that are no numbers.
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
        return CaseScore(numbers, self._embedded(volume, torch.from_numpy(maps.label)))

    def embed(self, path: str | Path, progress: Progress | None = None) -> CaseScore:
        """Return the embedding alone, from one answer; the rest as `score`."""
        volume = self._read(path)
        return CaseScore(embedding=self._embedded(volume, self._labels(volume, progress)))

    def maps(self, volume: torch.Tensor, progress: Progress | None = None) -> Maps:
        """Return what several answers say of a prepared volume ``(1, X, Y, Z)``."""
        maps = Maps.empty(self.spec.samples, volume.shape[1:])
        # What a network drops is drawn alike for every image, at every time.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for start, slab in self._all.slabs(volume, progress):
                maps.take(start, opinion(check_finite(slab).unflatten(0, (self.spec.samples, -1))))
        return maps

    def _weights(self, app_dir: str | Path) -> list[Path]:
        served = served_weights(app_dir, self.task)
        if self.spec.by != "ensemble":
            return [served.path]
        return [served.path, *_served_before(app_dir, self.task, served.name)][: self.spec.samples]

    def _predictor(self, network: nn.Module, device: str | torch.device) -> Predictor:
        image = self.task.image
        return Predictor(network, roi=image.roi, slice_offsets=image.slice_offsets, device=device)

    def _read(self, path: str | Path) -> torch.Tensor:
        return window(read(check(path), self.task.image).hu, self.task.image.window_hu)

    def _labels(self, volume: torch.Tensor, progress: Progress | None) -> torch.Tensor:
        parts = [running_argmax(check_finite(slab)) for _, slab in self._one.slabs(volume, progress)]
        return torch.cat(parts, dim=-1)

    def _embedded(self, volume: torch.Tensor, labels: torch.Tensor) -> list[float]:
        image = self.task.image
        vector = embedding(self._network.eval(), volume, labels > 0, roi=image.roi, slice_offsets=image.slice_offsets)
        return np.round(vector.numpy().astype(float), 5).tolist()


def _members(networks: list[nn.Module], spec: ScoreSpec, task: TaskSpec, device: str | torch.device) -> list[nn.Module]:
    if spec.by == "dropout":
        return [Dropping(networks[0]) for _ in range(spec.samples)]
    # An ensemble that has too few versions yet is filled up with views of those it has.
    each = [views(quickest(network, device), spec.samples, task.image.window_hu) for network in networks]
    return [view for turn in zip(*each, strict=True) for view in turn][: spec.samples]


def _served_before(app_dir: str | Path, task: TaskSpec, served: str) -> list[Path]:
    """Return the weights of the versions that were served before this one, the last first."""
    rows = shelf(app_dir, task).ledger.rows("decision", task.name)
    names = [row.body["champion"] for row in reversed(rows)]
    found = []
    for name in dict.fromkeys([*names, STARTER]):
        if name in ("", served):
            continue
        # It was removed, nothing came with the app, or it gives other labels: SchemaMismatch is a ValueError.
        with contextlib.suppress(NoWeights, ValueError):
            version = weights_named(app_dir, task, name)
            check_schema(task, name, version.card)
            found.append(version.path)
    return found
