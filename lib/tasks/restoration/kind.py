"""Tasks of kind "restoration": what `lib.tasks.kinds.TaskKind` asks of a kind."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.tasks.scoring import ScoringMethod
from numpy.typing import NDArray
from torch import nn

from lib.data.cases import Case
from lib.data.scintigraphy.pairs import Pair, read_pair
from lib.data.scintigraphy.scans import read_scan
from lib.jobs.gate import Judged
from lib.jobs.judge_scans import judge_scans
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.tasks.restoration.infer import RestorationInfer
from lib.tasks.restoration.lesson import learn_to_restore
from lib.tasks.restoration.restorer import restore_file
from lib.tasks.segmentation.kind import VOLUME_PATTERNS
from lib.tasks.segmentation.learn import TrainingRun
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import TaskSpec


class Restoration:
    """A scan with few counts in, the expected counts of a whole scan out; its labels are standard scans."""

    image_patterns: tuple[str, ...] = (*VOLUME_PATTERNS, "*.dcm", "*.png")
    # How far a standard scan lies from a restored one is no measure of a person's work.
    answers_are_drafts, answers_alone, serves_slicer = False, True, False
    example: tuple[str, str] = "Restore a scan", "restored.nii.gz"

    def check_image(self, path: str | Path) -> None:
        """Refuse a file that is not a planar scan of counts."""
        read_scan(path)

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return the one infer task of a task."""
        return {task.name: RestorationInfer(app_dir, task)}

    def infer_file(
        self, app_dir: str | Path, task: str, image: Path, output: Path, progress: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Restore one scan into a file."""
        return restore_file(app_dir, task, image, output)

    def scoring_methods(self, task: TaskSpec) -> Mapping[str, ScoringMethod]:
        """Return nothing: restored scans are judged by the gate alone."""
        return {}

    def accept_label(
        self, path: Path, image: str | Path, task: TaskSpec, label_info: Sequence[Mapping[str, Any]] = ()
    ) -> NDArray[Any]:
        """Return the counts of a standard scan that matches its rapid scan.

        Raises:
            InputRejected: If the two are not a pair.
        """
        return read_pair(Pair(Path(image).name, Path(image), path))[1].counts

    def inspect_label(self, label: NDArray[Any], image: str | Path, task: TaskSpec) -> list[dict[str, Any]]:
        """Return no findings: a standard scan is measured, not drawn."""
        return []

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train on pairs of scans."""
        result = learn_to_restore(
            task,
            run.recipe,
            network,
            run.train_cases,
            run.val_cases,
            run.workdir,
            device=run.device,
            report=run.report,
        )
        return result, None

    def judge(self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device) -> list[Judged]:
        """Return the gate's metric, and time, of each pair."""
        return judge_scans(network, cases, task.gate.metric, device=device)
