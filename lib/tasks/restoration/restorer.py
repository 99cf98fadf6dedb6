"""Restore a rapid scan to the expected counts of the standard scan, for the server and the command line."""

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
from lib.jobs.failure_watch import Watch, check_finite
from lib.models.inference.engine import select_device
from lib.models.restoration import bootstrap_deviation, restore_counts
from lib.records.card import find_code_version
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.weights import ServedWeights, build_network, served_weights
from lib.tasks.spec import RESTORATION, TaskSpec, load_app, require_kind


@dataclass(frozen=True, eq=False)
class RestoredScan:
    """A restored scan.

    Args:
        scan: The rapid scan.
        expected: Expected counts of the standard scan, float32 ``(V, H, W)``.
        deviation: Standard deviation of ``expected`` due to the noise of the rapid scan, same shape; None if not
            requested.
        fraction: The rapid scan's share of the counts of the standard scan, in (0, 1].
        seconds: Time per stage, in s: read, infer.
        version: Name of the version that restored the scan.
    """

    scan: CountScan
    expected: NDArray[np.float32]
    deviation: NDArray[np.float32] | None
    fraction: float
    seconds: dict[str, float]
    version: str

    def description(self, task: TaskSpec) -> str:
        """Return a sentence that describes the restoration."""
        return (
            f"Restored from {self.fraction:.3g} of the counts by version {self.version} of {task.name} ({task.model})"
        )


class Restorer:
    """Restore scans with the version of a task's weights that is served when the request arrives; thread-safe.

    Args:
        task: The task.
        weights: Returns the version to serve; called before every scan.
        device: Device of the network; None selects a GPU if there is one.
        watch: Receives every scan that a version restored or failed on.
    """

    def __init__(
        self,
        task: TaskSpec,
        weights: Callable[[], ServedWeights],
        *,
        device: str | torch.device | None = None,
        watch: Watch | None = None,
    ) -> None:
        assert task.counts is not None, "a restoration task declares its counts"
        self.task, self.counts = task, task.counts
        self._watch = watch or Watch(lambda version, reason: None)
        self._device = select_device(device)
        self._follower = Follower(weights, self._load, self._watch)

    @classmethod
    def from_task(cls, app_dir: str | Path, task: TaskSpec | str, **options: Any) -> "Restorer":
        """Return a restorer that follows the champion of a task.

        Args:
            app_dir: Folder of the app.
            task: Task of the app, or its name.
            **options: ``device`` and ``watch``.
        Raises:
            SpecError: If the task is not of kind "restoration".
        """
        task = load_app(app_dir).task(task) if isinstance(task, str) else task
        require_kind(task, RESTORATION, "restore a scan")
        return cls(task, lambda: served_weights(app_dir, task), **options)

    def restore(self, path: str | Path, fraction: float | None = None, *, deviation: bool = False) -> RestoredScan:
        """Return the expected counts of the standard scan.

        Args:
            path: The rapid scan.
            fraction: The rapid scan's share of the counts of the standard scan, in (0, 1]; None takes the value of
                app.toml.
            deviation: Whether to estimate the standard deviation, by restoring other rapid scans that are drawn from
                the restored one.
        Raises:
            InputRejected: If the scan is rejected.
            NoWeights: If no version of the task can be served.
        """
        start = time.perf_counter()
        scan, share = read_scan(path), self.counts.fraction if fraction is None else fraction
        read = time.perf_counter()
        served, network = self._follower.current(str(path))
        spread = None
        with self._watch.observe(served.name, str(path)):
            expected = check_finite(restore_counts(network, torch.from_numpy(scan.counts), share))
            if deviation:
                spread = bootstrap_deviation(network, expected, share).numpy()
        self._follower.mark_used()
        seconds = {"read": read - start, "infer": time.perf_counter() - read}
        return RestoredScan(scan, expected.numpy(), spread, share, seconds, served.name)

    def release(self, idle_seconds: float = 0.0) -> bool:
        """Release the network if no request came for `idle_seconds`; see `Follower.release`."""
        return self._follower.release(idle_seconds)

    def _load(self, served: ServedWeights) -> nn.Module:
        return build_network(self.task, served.path).to(self._device)


def restore_file(app_dir: str | Path, task: str, image: Path, output: Path) -> dict[str, Any]:
    """Restore a scan into a file, in the format of its suffix.

    Args:
        app_dir: Folder of the app.
        task: Name of a task of kind "restoration".
        image: The rapid scan.
        output: File to write.
    Returns:
        JSON-safe: the file, the version, seconds, the fraction, and recorded and expected counts by view.
    Raises:
        ValueError: If the scan is rejected, or the format cannot store the result.
    """
    restorer = Restorer.from_task(app_dir, task)
    restored = restorer.restore(image)
    software = f"TopoLabel {find_code_version()}".strip()
    description = restored.description(restorer.task)
    write_restored(restored.scan, restored.expected, output, description=description, software=software)
    counts = {"recorded": restored.scan.counts.sum((1, 2)).tolist(), "expected": restored.expected.sum((1, 2)).tolist()}
    facts = {"output": str(output), "model": restored.version, "seconds": restored.seconds}
    return facts | {"fraction": restored.fraction} | counts
