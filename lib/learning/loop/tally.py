"""The counters and scores of a training run, as they are stored in its checkpoint."""

import dataclasses
import math
from typing import Any

from lib.learning.loop.validation import CaseScore


@dataclasses.dataclass
class TrainingState:
    """Counters and scores of a training run so far; a checkpoint stores all of them.

    Args:
        step: Steps done, including skipped steps.
        skipped: Steps whose loss or gradient was not finite.
        seconds: Training time, including validation and earlier parts of a resumed run.
        judged_step: Step of the last validation; -1 before the first.
        judging_seconds: Duration of the last validation.
        best_score: Best mean Dice; nan before the first validation.
        best_epoch: Epoch of the best score, from 1; 0 before the first validation.
        since_best: Number of validations after the best one.
        metrics: Scores per case of the best weights.
        history: One row of losses and scores per epoch.
    """

    step: int = 0
    skipped: int = 0
    seconds: float = 0.0
    judged_step: int = -1
    judging_seconds: float = 0.0
    best_score: float = math.nan
    best_epoch: int = 0
    since_best: int = 0
    metrics: list[CaseScore] = dataclasses.field(default_factory=list)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
