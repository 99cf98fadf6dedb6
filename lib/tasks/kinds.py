"""The kinds of task at work: what each does with images, labels and versions, behind one protocol."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from monailabel.interfaces.tasks.scoring import ScoringMethod
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.jobs.gate import Judged
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.tasks.click.kind import Click
from lib.tasks.restoration.kind import Restoration
from lib.tasks.segmentation.kind import Segmentation
from lib.tasks.segmentation.learn import TrainingRun
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import CLICK, RESTORATION, SEGMENTATION, TaskSpec


class TaskKind(Protocol):
    """What one kind of task does; what it may declare is `lib.tasks.spec.kinds.Declaration`.

    Attributes:
        image_patterns: File patterns of its images in a folder of studies.
        answers_are_drafts: Whether a saved label is an edited answer, so that the difference measures work.
        answers_alone: Whether it answers an image without clicks, and so can be compared with its student.
        serves_slicer: Whether 3D Slicer's extension can show its answers.
        example: What a first request does, in words, and the file that it writes.
    """

    image_patterns: tuple[str, ...]
    answers_are_drafts: bool
    answers_alone: bool
    serves_slicer: bool
    example: tuple[str, str]

    def check_image(self, path: str | Path) -> None:
        """Refuse an image that no task of this kind can take.

        Raises:
            InputRejected: With every reason that was found.
        """
        ...

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return the infer tasks that viewers see, by name."""
        ...

    def infer_file(
        self, app_dir: str | Path, task: str, image: Path, output: Path, progress: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Answer one image into a file, and return facts about the answer, JSON-safe.

        Raises:
            SpecError: If this kind does not answer an image alone.
            InputRejected: If the image is refused.
        """
        ...

    def scoring_methods(self, task: TaskSpec) -> Mapping[str, ScoringMethod]:
        """Return the methods that compare answers with final labels, by name."""
        ...

    def accept_label(
        self, path: Path, image: str | Path, task: TaskSpec, label_info: Sequence[Mapping[str, Any]] = ()
    ) -> NDArray[Any]:
        """Return the values of a submitted label file, rewritten in the order of the task's labels.

        Raises:
            InputRejected: If the label cannot be trained on.
        """
        ...

    def inspect_label(self, label: NDArray[Any], image: str | Path, task: TaskSpec) -> list[dict[str, Any]]:
        """Return what a person should look at in an accepted label, JSON-safe; never raises."""
        ...

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train a network in place; return the best weights and the background level, None where it has none."""
        ...

    def judge(self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device) -> list[Judged]:
        """Return how a network does on labelled cases."""
        ...


KINDS: dict[str, TaskKind] = {SEGMENTATION: Segmentation(), CLICK: Click(), RESTORATION: Restoration()}
"""Every kind of task, by the name that `kind` takes in app.toml."""


def kind_of(task: TaskSpec) -> TaskKind:
    """Return the kind of a task."""
    return KINDS[task.kind]
