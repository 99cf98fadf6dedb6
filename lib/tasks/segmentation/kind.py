"""The kind "segmentation", as `lib.tasks.kinds.TaskKind` defines a kind of task."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.tasks.scoring import ScoringMethod
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.formats import PICTURE_SUFFIXES
from lib.data.modality import PICTURE_MODALITIES
from lib.data.pipeline import open_image, write_label
from lib.jobs.gate import JudgedCase
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.tasks.segmentation.infer import SegmentationInfer
from lib.tasks.segmentation.learn import TrainingRun, learn_labels
from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import TaskSpec
from lib.tasks.strategies.scoring import DicePerClass

VOLUME_PATTERNS = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha")
"""File patterns of volumes in a folder."""
PICTURE_PATTERNS = tuple(f"*{suffix}" for suffix in PICTURE_SUFFIXES)
"""File patterns of pictures in a folder."""


class Segmentation:
    """Tasks that label all classes of an image."""

    reads_series: bool = True
    answers_are_drafts, needs_no_clicks, serves_slicer = True, True, True
    example: tuple[str, str] = "Segment a study", "label.nii.gz"

    def image_patterns(self, task: TaskSpec) -> tuple[str, ...]:
        """Return the patterns of volumes, and of pictures for a modality whose images may be pictures."""
        return (*VOLUME_PATTERNS, *PICTURE_PATTERNS) if task.image.modality in PICTURE_MODALITIES else VOLUME_PATTERNS

    def check_image(self, path: str | Path, task: TaskSpec) -> None:
        """Reject an image that does not pass the input gate."""
        open_image(path, task.image)

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return the single infer task."""
        return {task.name: SegmentationInfer(app_dir, task)}

    def infer_file(
        self, app_dir: str | Path, task: str, image: Path, output: Path, progress: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Segment one image into a file."""
        result = Segmenter.from_task(app_dir, task).segment(image, progress=progress)
        write_label(result.label, result.affine, output)
        answer = {"output": str(output), "model": result.version, "seconds": result.seconds, "labels": result.labels}
        return {**answer, "notes": list(result.notes)} if result.notes else answer

    def scoring_methods(self, task: TaskSpec) -> Mapping[str, ScoringMethod]:
        """Return Dice per class."""
        return {"dice": DicePerClass(task.label_values)}

    def check_submitted_label(
        self, path: Path, image: str | Path, task: TaskSpec, label_info: Any = None
    ) -> NDArray[Any]:
        """Check a submitted label; see `submission.check_submitted_label`."""
        from lib.tasks.segmentation.submission import check_submitted_label

        return check_submitted_label(path, image, task, label_info)

    def inspect_label(
        self, label: NDArray[Any], image: str | Path, task: TaskSpec, covered: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the findings on an accepted label; see `submission.find_label_faults`."""
        from lib.tasks.segmentation.submission import find_label_faults

        return find_label_faults(label, image, task, covered)

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train on labelled cases; the epoch with the best Dice on whole validation volumes is kept."""
        return learn_labels(task, network, run)

    def judge(
        self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device
    ) -> list[JudgedCase]:
        """Return Dice, clDice of the tubular classes and time of every case."""
        from lib.jobs.judge import judge

        return judge(network, cases, task.image, task.labels, tubular=task.tubular, device=device)
