"""What a run has done so far."""

import dataclasses
import math
from typing import Any

from lib.learning.loop.validation import CaseScore


@dataclasses.dataclass
class Tally:
    """What a run has done so far; saved and resumed whole.

    Args:
        step: Steps, the skipped ones included.
        skipped: Steps whose loss or gradient was not finite.
        seconds: Time spent, validation and earlier parts included.
        judged_step: The step of the last validation.
        judging_seconds: Time the last validation took.
        best_score: Best mean Dice; nan before the first validation.
        best_epoch: Its epoch, from 1; 0 before.
        since_best: Validations since.
        metrics: Scores per case of the best weights.
        history: One row per epoch.
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
