"""Where a run stands and when it will end, as a bar on a terminal and as log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Args:
        epoch: The epoch in progress, from 1.
        epochs: Epochs in all.
        step: Steps taken.
        steps: Steps in all.
        loss: The last loss.
        score: The best validation score so far, mean Dice; nan before the first.
        seconds: Time spent.
        eta_seconds: Time left.
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
        return f"epoch {self.epoch}/{self.epochs}, loss {self.loss:.3f}{best}, {clock(self.eta_seconds)} left"


Report = Callable[[Standing], None]


def eta_seconds(seconds: float, done: float) -> float:
    """Return the time left when a fraction `done` took `seconds`; inf before anything is done."""
    return seconds * (1 - done) / done if done > 0 else float("inf")


def clock(seconds: float) -> str:
    """Return a duration as ``h:mm:ss``, ``?`` if unknown."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class LogLines:
    """Log a line now and then.

    Args:
        interval_seconds: Least time between two lines.
    """

    def __init__(self, interval_seconds: float = 15.0) -> None:
        self._interval = interval_seconds
        self._last = -float("inf")

    def close(self) -> None:
        """Do nothing: a line needs no end."""

    def __call__(self, standing: Standing) -> None:
        """Log `standing` if the last line is old enough, or the run is over."""
        now = time.monotonic()
        if now - self._last >= self._interval or standing.step >= standing.steps:
            self._last = now
            logger.info("%s", standing)


class Bar:
    """Draw a bar on standard error."""

    def __init__(self) -> None:
        self._bar = Progress(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
        self._task = self._bar.add_task("training", total=None)
        self._bar.start()

    def __call__(self, standing: Standing) -> None:
        """Draw `standing`."""
        self._bar.update(self._task, completed=standing.step, total=standing.steps, description=str(standing))

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


def default_report() -> LogLines | Bar:
    """Return a bar if standard error is a terminal, else log lines."""
    return Bar() if sys.stderr.isatty() else LogLines()
