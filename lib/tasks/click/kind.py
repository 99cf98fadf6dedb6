"""The kind "click", as `lib.tasks.kinds.TaskKind` defines a kind of task."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from lib.data.cases import Case
from lib.jobs.gate import JudgedCase
from lib.learning.calibrate import Calibration
from lib.learning.loop import Result
from lib.models.sam.build import find_foundation
from lib.models.sam.foundation import NoFoundation
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.infer import ClickInfer, Mode
from lib.tasks.segmentation.kind import Segmentation
from lib.tasks.segmentation.learn import TrainingRun, learn_labels
from lib.tasks.serving.served_infer import ServedInfer, watch_for_failures
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)


class Click(Segmentation):
    """Tasks that segment the clicked object of an image; their labels are checked as those of a segmentation task."""

    needs_no_clicks = False

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return one infer task per mode; no infer task if the weights of the foundation model are missing."""
        try:
            find_foundation(task.model, task.foundation)
        except NoFoundation as error:
            logger.warning("%s is not offered: %s", task.name, error)
            return {}
        clicker = Clicker.from_task(app_dir, task, watch=watch_for_failures(app_dir, task))
        modes = [ClickInfer(app_dir, task, mode, clicker) for mode in Mode]
        return {mode.name: mode for mode in modes}

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train on labelled cases; the epoch with the best Dice after simulated clicks is kept."""
        from lib.learning.click_validation import ClickValidation

        judge = ClickValidation(run.val_cases, task.image, task.labels, task.object) if run.val_cases else None
        return learn_labels(task, network, run, judge)

    def judge(
        self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device
    ) -> list[JudgedCase]:
        """Return the Dice after simulated clicks, and the time, of every case."""
        from lib.jobs.judge_clicks import judge_clicks

        return judge_clicks(network, cases, task.image, task.labels, task.object, tubular=task.tubular, device=device)
