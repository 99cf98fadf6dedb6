"""The kind "restoration", as `lib.tasks.kinds.TaskKind` defines a kind of task."""

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
from lib.jobs.gate import JudgedCase
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.tasks.restoration.infer import RestorationInfer
from lib.tasks.restoration.restorer import restore_file
from lib.tasks.segmentation.kind import VOLUME_PATTERNS
from lib.tasks.segmentation.learn import TrainingRun
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import TaskSpec


class Restoration:
    """Tasks that estimate a standard scan from a rapid scan; the label of a rapid scan is its standard scan."""

    reads_series: bool = False
    # The difference between a standard scan and a restored scan does not measure the work of an annotator.
    answers_are_drafts, needs_no_clicks, serves_slicer = False, True, False
    example: tuple[str, str] = "Restore a scan", "restored.nii.gz"

    def image_patterns(self, task: TaskSpec) -> tuple[str, ...]:
        """Return the patterns of the formats in which planar scans are stored."""
        return (*VOLUME_PATTERNS, "*.dcm", "*.png")

    def check_image(self, path: str | Path, task: TaskSpec) -> None:
        """Reject a file that is not a planar scan of counts."""
        read_scan(path)

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return the single infer task."""
        return {task.name: RestorationInfer(app_dir, task)}

    def infer_file(
        self, app_dir: str | Path, task: str, image: Path, output: Path, progress: Callable[[int, int], None]
    ) -> dict[str, Any]:
        """Restore one scan into a file."""
        return restore_file(app_dir, task, image, output)

    def scoring_methods(self, task: TaskSpec) -> Mapping[str, ScoringMethod]:
        """Return no scoring method: only the gate judges restored scans."""
        return {}

    def check_submitted_label(
        self, path: Path, image: str | Path, task: TaskSpec, label_info: Any = None
    ) -> NDArray[Any]:
        """Return the counts of a standard scan, after checking that it matches its rapid scan.

        Raises:
            InputRejected: If the two scans are not a pair.
        """
        return read_pair(Pair(Path(image).name, Path(image), path))[1].counts

    def inspect_label(
        self, label: NDArray[Any], image: str | Path, task: TaskSpec, covered: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return no findings, because a standard scan is measured and not drawn."""
        return []

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train on pairs of scans."""
        from lib.tasks.restoration.learn import learn_to_restore

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

    def judge(
        self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device
    ) -> list[JudgedCase]:
        """Return the metric of the gate, and the time, of every pair."""
        from lib.jobs.judge_scans import judge_scans

        return judge_scans(network, cases, task.gate.metric, device=device)
