"""The kinds of task behind one protocol: how each kind handles images, labels and model versions."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from monailabel.interfaces.tasks.scoring import ScoringMethod
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.labels.coverage import check_covered, parse_covered, read_covered
from lib.jobs.gate import JudgedCase
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.records.card import hash_labels
from lib.tasks.click.kind import Click
from lib.tasks.restoration.kind import Restoration
from lib.tasks.segmentation.kind import Segmentation
from lib.tasks.segmentation.learn import TrainingRun
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import CLICK, RESTORATION, SEGMENTATION, AppSpec, TaskSpec
from lib.tasks.store.label_check import FoundLabelCheck


class TaskKind(Protocol):
    """Behaviour of one kind of task; `lib.tasks.spec.kinds.Declaration` says which keys it takes in app.toml.

    Attributes:
        reads_series: Whether a folder of one DICOM series is a study.
        answers_are_drafts: Whether annotators edit the inference result into the saved label. The difference between
            the two then measures the annotators' work.
        needs_no_clicks: Whether inference needs the image only. Such a teacher can be compared with its student.
        serves_slicer: Whether 3D Slicer's extension can show the inference results.
        example: A description of a first inference request, and the name of the file that it writes.
    """

    reads_series: bool
    answers_are_drafts: bool
    needs_no_clicks: bool
    serves_slicer: bool
    example: tuple[str, str]

    def image_patterns(self, task: TaskSpec) -> tuple[str, ...]:
        """Return the file patterns of the images, and of the labels, in a folder of studies of a task."""
        ...

    def check_image(self, path: str | Path, task: TaskSpec) -> None:
        """Check that a task of this kind can read an image.

        Raises:
            InputRejected: If it cannot; it lists every reason found.
        """
        ...

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return the infer tasks that viewers list, by name."""
        ...

    def infer_file(
        self, app_dir: str | Path, task: str, image: Path, output: Path, progress: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Infer on one image for the command line: write the result to `output` and return facts about it, JSON-safe.

        Raises:
            SpecError: If this kind of task needs more than the image.
            InputRejected: If the image is refused.
        """
        ...

    def scoring_methods(self, task: TaskSpec) -> Mapping[str, ScoringMethod]:
        """Return the methods that compare inference results with final labels, by name."""
        ...

    def check_submitted_label(
        self, path: Path, image: str | Path, task: TaskSpec, label_info: Any = None
    ) -> NDArray[Any]:
        """Check a submitted label file, rewrite its values in the order of the task's labels, and return them.

        Raises:
            InputRejected: If the label cannot be used for training.
        """
        ...

    def inspect_label(
        self, label: NDArray[Any], image: str | Path, task: TaskSpec, covered: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the findings that a person should look at in a submitted label, JSON-safe; never raises.

        Only the labels that it covers are inspected; None for all.
        """
        ...

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train a network in place. Return the best weights and the calibration, None if there is none."""
        ...

    def judge(
        self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device
    ) -> list[JudgedCase]:
        """Return the scores of a network on labelled cases."""
        ...


KINDS: dict[str, TaskKind] = {SEGMENTATION: Segmentation(), CLICK: Click(), RESTORATION: Restoration()}
"""Kinds of task by the value of the key `kind` in app.toml."""


def kind_of(task: TaskSpec) -> TaskKind:
    """Return the kind of a task."""
    return KINDS[task.kind]


def found_label_check(app_dir: str | Path, app: AppSpec) -> FoundLabelCheck:
    """Return the check of label files that other programs wrote: that of labels submitted to the app's first task."""
    task = app.tasks[0]

    def check(label: Path, image: Path) -> None:
        covered = parse_covered(read_covered(label), task.label_values)
        check_covered(kind_of(task).check_submitted_label(label, image, task), covered, task.label_values)

    return FoundLabelCheck(app_dir, check, f"{task.kind} {hash_labels(task.labels)}")
