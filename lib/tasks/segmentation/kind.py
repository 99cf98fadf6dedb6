"""Tasks of kind "segmentation": what `lib.tasks.kinds.TaskKind` asks of a kind."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.tasks.scoring import ScoringMethod
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.pipeline import save_label
from lib.data.validate import check
from lib.jobs.gate import Judged
from lib.jobs.judge import judge
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.tasks.segmentation.infer import SegmentationInfer
from lib.tasks.segmentation.learn import TrainingRun, learn_labels
from lib.tasks.segmentation.segmenter import Segmenter
from lib.tasks.segmentation.submission import accept_label, inspect_submitted_label
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import TaskSpec
from lib.tasks.strategies.scoring import DicePerClass

VOLUME_PATTERNS = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha")
"""Files of a folder that are volumes."""


class Segmentation:
    """An image in, a label of all classes out."""

    image_patterns: tuple[str, ...] = VOLUME_PATTERNS
    answers_are_drafts, answers_alone, serves_slicer = True, True, True
    example: tuple[str, str] = "Segment a study", "label.nii.gz"

    def check_image(self, path: str | Path) -> None:
        """Refuse an image that the input gate refuses."""
        check(path)

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return the one infer task of a task."""
        return {task.name: SegmentationInfer(app_dir, task)}

    def infer_file(
        self, app_dir: str | Path, task: str, image: Path, output: Path, progress: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Segment one image into a file."""
        result = Segmenter.from_task(app_dir, task).segment(image, progress=progress)
        save_label(result.label, result.affine, output)
        return {"output": str(output), "model": result.version, "seconds": result.seconds, "labels": result.labels}

    def scoring_methods(self, task: TaskSpec) -> Mapping[str, ScoringMethod]:
        """Return Dice per class."""
        return {"dice": DicePerClass(task.label_values)}

    def accept_label(
        self, path: Path, image: str | Path, task: TaskSpec, label_info: Sequence[Mapping[str, Any]] = ()
    ) -> NDArray[Any]:
        """Check a submitted label; see `submission.accept_label`."""
        return accept_label(path, image, task, label_info)

    def inspect_label(self, label: NDArray[Any], image: str | Path, task: TaskSpec) -> list[dict[str, Any]]:
        """Return the findings on an accepted label; see `submission.inspect_submitted_label`."""
        return inspect_submitted_label(label, image, task)

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train on labelled cases; whole volumes choose the epoch."""
        return learn_labels(task, network, run)

    def judge(self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device) -> list[Judged]:
        """Return Dice, clDice and time of each case."""
        return judge(network, cases, task.image, task.labels, device=device)
