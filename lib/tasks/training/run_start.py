"""What a training began with, kept in its folder: whoever goes on after an interruption goes on with the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib.data.cases import Case
from lib.data.files.atomic import replacing
from lib.learning.loop.session import BEST, CHECKPOINT
from lib.learning.recipes.recipe import Recipe
from lib.tasks.spec import TaskSpec

FILE, OUTCOME = "start.json", "outcome.json"
TRANSFER = "transfer"
"""Cases that a student sees with its teacher's outputs alone."""


@dataclass(frozen=True)
class Start:
    """The beginning of a run.

    Args:
        parent: Name of the weights it starts from; empty if from scratch.
        recipe: All options.
        split: The cases of every part, each label as the version that stays; beside them `TRANSFER`, cases without.
        teacher: Name of the teacher's weights; empty if there is none.
    """

    parent: str
    recipe: Recipe
    split: Mapping[str, Sequence[Case]]
    teacher: str = ""

    def write(self, workdir: Path) -> None:
        """Write it down, whole, in the run's folder."""
        split = {part: [asdict(case) for case in cases] for part, cases in self.split.items()}
        told = {"parent": self.parent, "teacher": self.teacher, "recipe": asdict(self.recipe), "split": split}
        _put(workdir / FILE, json.dumps(told, default=str))

    @classmethod
    def read(cls, workdir: Path, task: TaskSpec) -> "Start | None":
        """Return what was written down, None if the run is a new one.

        Args:
            workdir: The run's folder.
            task: A task that trains.
        """
        if not (workdir / FILE).is_file():
            return None
        told = json.loads((workdir / FILE).read_text())
        assert task.train is not None, "only a task that trains has runs"
        split = {part: [_case(case) for case in cases] for part, cases in told["split"].items()}
        recipe = type(task.train.options).from_options(told["recipe"])
        return cls(told["parent"], recipe, split, told.get("teacher", ""))


def close(workdir: Path, outcome: Mapping[str, Any]) -> None:
    """Write down what came of a run, and remove its checkpoints: the version has the weights.

    Args:
        workdir: The run's folder.
        outcome: JSON, nan included.
    """
    _put(workdir / OUTCOME, json.dumps(dict(outcome)))
    for name in (CHECKPOINT, BEST):
        (workdir / name).unlink(missing_ok=True)


def _put(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write_text(text)


def _case(told: Mapping[str, Any]) -> Case:
    return Case(told["id"], Path(told["image"]), Path(told["label"]) if told["label"] else None, told["patient"])
