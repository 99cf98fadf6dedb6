"""Save the inputs of a training run, so that an interrupted run resumes with the same inputs."""

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
"""Part of the split with the cases that a student learns from its teacher's outputs only, without labels."""


@dataclass(frozen=True)
class RunStart:
    """Inputs of a training run.

    Args:
        parent: Name of the version that training starts from; empty if it starts from random weights.
        recipe: The recipe with all options.
        split: Cases by part of the split, with the kept copies of their labels; `TRANSFER` has cases without labels.
        teacher: Name of the teacher's version; empty if there is none.
    """

    parent: str
    recipe: Recipe
    split: Mapping[str, Sequence[Case]]
    teacher: str = ""

    def write(self, workdir: Path) -> None:
        """Write the inputs to the run's folder, atomically."""
        split = {part: [asdict(case) for case in cases] for part, cases in self.split.items()}
        facts = {"parent": self.parent, "teacher": self.teacher, "recipe": asdict(self.recipe), "split": split}
        _write_text(workdir / FILE, json.dumps(facts, default=str))

    @classmethod
    def read(cls, workdir: Path, task: TaskSpec) -> "RunStart | None":
        """Return the saved inputs of a run, None if the run is new.

        Args:
            workdir: The run's folder.
            task: A task with `train`.
        """
        if not (workdir / FILE).is_file():
            return None
        facts = json.loads((workdir / FILE).read_text())
        assert task.train is not None, "only a task with `train` has runs"
        split = {part: [_parse_case(case) for case in cases] for part, cases in facts["split"].items()}
        recipe = type(task.train.options).from_options(facts["recipe"])
        return cls(facts["parent"], recipe, split, facts.get("teacher", ""))


def close_run(workdir: Path, outcome: Mapping[str, Any]) -> None:
    """Write the outcome of a run and remove its checkpoints, because the version has the weights.

    Args:
        workdir: The run's folder.
        outcome: JSON-safe except that nan is allowed.
    """
    _write_text(workdir / OUTCOME, json.dumps(dict(outcome)))
    for name in (CHECKPOINT, BEST):
        (workdir / name).unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write_text(text)


def _parse_case(facts: Mapping[str, Any]) -> Case:
    label, covered = facts["label"], facts.get("covered")  # runs of earlier versions lack the second
    return Case(
        facts["id"],
        Path(facts["image"]),
        Path(label) if label else None,
        facts["patient"],
        tuple(covered) if covered else None,
    )
