"""Where a training stands, in the file and the words that viewers read."""

import json
import math
import time
from pathlib import Path
from typing import Any

from lib.data.files.atomic import replacing
from lib.jobs.queue.run import Stopped
from lib.learning.loop.progress import Standing, clock

FILE = "train_stats.json"
METRIC = "mean_dice"


class TrainingStats:
    """The standing of one training, written to a file that other processes read whole.

    Slicer draws its bars from ``epoch``, ``total_epochs``, ``best_metric`` and, at the end only, ``total_time``.

    Args:
        root: Folder of the task's versions.
        epochs: Epochs in all.
        interval_seconds: Least time between two writes.
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

    def report(self, standing: Standing) -> None:
        """Write where a run stands, if the last time is a while ago."""
        best = standing.score if math.isfinite(standing.score) else 0.0
        self._stats |= {
            "epoch": standing.epoch,
            "step": standing.step,
            "total_iterations": standing.steps,
            "best_metric": best,
            "current_time": clock(standing.seconds),
            "eta": clock(standing.eta_seconds),
            "train": {"metrics": {"loss": standing.loss if math.isfinite(standing.loss) else None}},
            "eval": {"metrics": {METRIC: best}, "key_metric_name": METRIC, "best_metric": best},
        }
        if time.monotonic() - self._written >= self._interval:
            self._write()

    def finish(self, outcome: dict[str, Any]) -> None:
        """Write what came of it."""
        score = outcome.get("score")
        # Without a held-out score the bar keeps the one that chose the epoch.
        self._end({"status": "done", **outcome} | ({} if score is None else {"best_metric": score}))

    def _end(self, facts: dict[str, Any]) -> None:
        self._stats |= {**facts, "total_time": clock(time.time() - self._start)}
        self._write()

    def _write(self) -> None:
        with replacing(self._root / FILE) as partial:
            partial.write_text(json.dumps(self._stats))
        self._written = time.monotonic()


def read_stats(root: Path) -> dict[str, Any]:
    """Return what the last training wrote, empty if there was none."""
    file = root / FILE
    return json.loads(file.read_text()) if file.is_file() else {}
