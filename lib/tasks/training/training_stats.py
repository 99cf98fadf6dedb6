"""Write the progress of a training to the file that viewers read, under the keys that viewers expect."""

import json
import math
import time
from pathlib import Path
from typing import Any

from lib.data.files.atomic import replacing
from lib.jobs.queue.run import Stopped
from lib.learning.loop.progress import TrainingProgress, format_duration

FILE = "train_stats.json"
METRIC = "mean_dice"


class TrainingStats:
    """Progress of one training, written atomically to a file that other processes read.

    Slicer draws its bars from ``epoch``, ``total_epochs``, ``best_metric`` and, at the end only, ``total_time``.

    Args:
        root: Folder of the task's versions.
        epochs: Total number of epochs.
        interval_seconds: Least time between two writes, in s.
    """

    def __init__(self, root: Path, epochs: int, interval_seconds: float = 1.0) -> None:
        self._root, self._interval, self._written = root, interval_seconds, -math.inf
        self._start = time.time()
        self._stats: dict[str, Any] = {
            "status": "running",
            "start_ts": int(self._start),
            "epoch": 0,
            "total_epochs": epochs,
            "best_metric": 0.0,
        }

    def __enter__(self) -> "TrainingStats":
        self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Stopped):
            self._end({"status": "stopped"})
        elif error is not None:
            self._end({"status": "failed", "reason": f"{type(error).__name__}: {error}"})

    def report(self, standing: TrainingProgress) -> None:
        """Write the progress of a run, at most once per interval."""
        best = standing.score if math.isfinite(standing.score) else 0.0
        self._stats |= {
            "epoch": standing.epoch,
            "step": standing.step,
            "total_iterations": standing.steps,
            "best_metric": best,
            "current_time": format_duration(standing.seconds),
            "eta": format_duration(standing.eta_seconds),
            "train": {"metrics": {"loss": standing.loss if math.isfinite(standing.loss) else None}},
            "eval": {"metrics": {METRIC: best}, "key_metric_name": METRIC, "best_metric": best},
        }
        if time.monotonic() - self._written >= self._interval:
            self._write()

    def finish(self, outcome: dict[str, Any]) -> None:
        """Write the outcome."""
        score = outcome.get("score")
        # Without a held-out score, the bar keeps the validation score that selected the epoch.
        self._end({"status": "done", **outcome} | ({} if score is None else {"best_metric": score}))

    def _end(self, facts: dict[str, Any]) -> None:
        self._stats |= {**facts, "total_time": format_duration(time.time() - self._start)}
        self._write()

    def _write(self) -> None:
        with replacing(self._root / FILE) as partial:
            partial.write_text(json.dumps(self._stats))
        self._written = time.monotonic()


def read_stats(root: Path) -> dict[str, Any]:
    """Return the progress that the last training wrote, empty if there was no training."""
    file = root / FILE
    return json.loads(file.read_text()) if file.is_file() else {}
