"""One rapid scan in, what the whole scan is expected to show out; the same for the server and the command line."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lib.data.scintigraphy.counts import CountScan
from lib.data.scintigraphy.scans import read_scan, write_restored
from lib.jobs.watch import Watch, check_finite
from lib.models.inference.engine import device_of
from lib.models.restoration import restore_counts, restored_deviation
from lib.records.card import find_code_version
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.weights import ServedWeights, build_network, served_weights
from lib.tasks.spec import RESTORATION, TaskSpec, load_app, require_kind


@dataclass(frozen=True, eq=False)
class Restoration:
    """A restored scan.

    Args:
        scan: The rapid one.
        expected: Expected counts of the whole scan, float32 ``(V, H, W)``.
        deviation: Their standard deviation for the noise of the rapid scan, the same shape; None if not asked for.
        fraction: Of the whole scan's counts that were recorded.
        seconds: Time per stage: read, infer.
        version: Of the weights that answered.
    """

    scan: CountScan
    expected: NDArray[np.float32]
    deviation: NDArray[np.float32] | None
    fraction: float
    seconds: dict[str, float]
    version: str

    def description(self, task: TaskSpec) -> str:
        """Return in a sentence what was done."""
        return (
            f"Restored from {self.fraction:.3g} of the counts by version {self.version} of {task.name} ({task.model})"
        )


class Restorer:
    """Restore scans with whatever version of a task's weights is served at that moment. Threads may share it.

    Args:
        task: The task.
        weights: Asked before every scan for the version to serve.
        device: Where the network runs; None takes a GPU if there is one.
        watch: Told of every scan that a version answered or failed on.
    """

    def __init__(
        self,
        task: TaskSpec,
        weights: Callable[[], ServedWeights],
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
    ) -> None:
        assert task.counts is not None, "a task that restores says how it takes its counts"
        self.task, self.counts = task, task.counts
        self._watch = watch or Watch(lambda version, reason: None)
        self._device = device_of(device)
        self._follower = Follower(weights, self._load, self._watch)

    @classmethod
    def from_task(cls, app_dir: str | Path, task: TaskSpec | str, **options: Any) -> "Restorer":
        """Return a restorer that follows the champion of a task.

        Args:
            app_dir: The app's folder.
            task: One of its tasks, or its name.
            **options: ``device`` and ``watch``.
        Raises:
            SpecError: If the task does not restore.
        """
        task = load_app(app_dir).task(task) if isinstance(task, str) else task
        require_kind(task, RESTORATION, "restore a scan")
        return cls(task, lambda: served_weights(app_dir, task), **options)

    def restore(self, path: str | Path, fraction: float | None = None, *, deviation: bool = False) -> Restoration:
        """Return what the whole scan is expected to show.

        Args:
            path: The rapid scan.
            fraction: Of the whole scan's counts that it holds; None takes that of app.toml.
            deviation: Whether to draw from what was restored other rapid scans, and see how much their restorations
                differ.
        Raises:
            InputRejected: If the scan is refused.
            NoWeights: If nothing serves the task.
        """
        began = time.perf_counter()
        scan, share = read_scan(path), self.counts.fraction if fraction is None else fraction
        read = time.perf_counter()
        served, network = self._follower.current(str(path))
        spread = None
        with self._watch.over(served.name, str(path)):
            expected = check_finite(restore_counts(network, torch.from_numpy(scan.counts), share))
            if deviation:
                spread = restored_deviation(network, expected, share).numpy()
        self._follower.used()
        seconds = {"read": read - began, "infer": time.perf_counter() - read}
        return Restoration(scan, expected.numpy(), spread, share, seconds, served.name)

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Let go of the network if nobody asked for so long; see `Follower.release`."""
        return self._follower.release(idle_seconds)

    def _load(self, served: ServedWeights) -> nn.Module:
        return build_network(self.task, served.path).to(self._device)


def restore_file(app_dir: str | Path, task: str, image: Path, output: Path) -> dict[str, Any]:
    """Restore a scan into a file, in the format of its suffix.

    Args:
        app_dir: The app's folder.
        task: A task that restores.
        image: The rapid scan.
        output: File to write.
    Returns:
        JSON-safe: the file, the version, seconds, the fraction, and counts of each view, recorded and expected.
    Raises:
        ValueError: If the scan is refused, or the format cannot hold the result.
    """
    restorer = Restorer.from_task(app_dir, task)
    done = restorer.restore(image)
    software = f"TopoLabel {find_code_version()}".strip()
    write_restored(done.scan, done.expected, output, description=done.description(restorer.task), software=software)
    counts = {"recorded": done.scan.counts.sum((1, 2)).tolist(), "expected": done.expected.sum((1, 2)).tolist()}
    return {"output": str(output), "model": done.version, "seconds": done.seconds, "fraction": done.fraction} | counts
