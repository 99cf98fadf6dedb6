"""Report the progress and the remaining time of a run, as a bar on a terminal and as log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training run after a step.

    Args:
        epoch: Current epoch, from 1.
        epochs: Number of epochs of the run.
        step: Steps done.
        steps: Number of steps of the run.
        loss: Loss of the last step.
        score: Best validation score so far, a mean Dice; nan before the first validation.
        seconds: Elapsed time.
        eta_seconds: Estimated remaining time.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    score: float
    seconds: float
    eta_seconds: float

    def __str__(self) -> str:
        best = f", best Dice {self.score:.3f}" if self.score == self.score else ""
        return f"epoch {self.epoch}/{self.epochs}, loss {self.loss:.3f}{best}, {format_duration(self.eta_seconds)} left"


ProgressCallback = Callable[[TrainingProgress], None]


def eta_seconds(seconds: float, done: float) -> float:
    """Return the remaining time if the fraction `done` took `seconds`; inf if nothing is done yet."""
    return seconds * (1 - done) / done if done > 0 else float("inf")


def format_duration(seconds: float) -> str:
    """Return a duration as ``h:mm:ss``; ``?`` if it is infinite, that is unknown."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class ProgressLog:
    """Log the progress at intervals.

    Args:
        interval_seconds: Shortest time between two lines.
    """

    def __init__(self, interval_seconds: float = 15.0) -> None:
        self._interval = interval_seconds
        self._last = -float("inf")

    def close(self) -> None:
        """Do nothing; the log needs no closing."""

    def __call__(self, progress: TrainingProgress) -> None:
        """Log `progress` if the last line is older than the interval or the run is complete."""
        now = time.monotonic()
        if now - self._last >= self._interval or progress.step >= progress.steps:
            self._last = now
            logger.info("%s", progress)


class ProgressBar:
    """Show the progress as a bar on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
        self._task = self._bar.add_task("training", total=None)
        self._bar.start()

    def __call__(self, progress: TrainingProgress) -> None:
        """Update the bar with `progress`."""
        self._bar.update(self._task, completed=progress.step, total=progress.steps, description=str(progress))

    def close(self) -> None:
        """Stop updating the bar; its last state stays visible."""
        self._bar.stop()


def default_report() -> ProgressLog | ProgressBar:
    """Return a bar if standard error is a terminal, else log lines."""
    return ProgressBar() if sys.stderr.isatty() else ProgressLog()
