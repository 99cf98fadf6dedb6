"""Tasks of kind "click": what `lib.tasks.kinds.TaskKind` asks of a kind."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from lib.data.cases import Case
from lib.jobs.gate import Judged
from lib.jobs.judge_clicks import judge_clicks
from lib.learning.calibrate import Calibration
from lib.learning.click_validation import ClickValidation
from lib.learning.loop import Result
from lib.models.sam.build import foundation_of
from lib.models.sam.foundation import NoFoundation
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.infer import ClickInfer, Mode
from lib.tasks.segmentation.kind import Segmentation
from lib.tasks.segmentation.learn import TrainingRun, learn_labels
from lib.tasks.serving.served_infer import ServedInfer, watch_over
from lib.tasks.spec import TaskSpec

logger = logging.getLogger(__name__)


class Click(Segmentation):
    """An image and clicks in, the label of what was clicked out; its labels are those of a segmentation."""

    answers_alone = False

    def infer_tasks(self, app_dir: str | Path, task: TaskSpec) -> Mapping[str, ServedInfer]:
        """Return one infer task per mode; none where the weights of the foundation model are missing."""
        try:
            foundation_of(task.model, task.foundation)
        except NoFoundation as error:
            logger.warning("%s is not offered: %s", task.name, error)
            return {}
        clicker = Clicker.from_task(app_dir, task, watch=watch_over(app_dir, task))
        modes = [ClickInfer(app_dir, task, mode, clicker) for mode in Mode]
        return {mode.name: mode for mode in modes}

    def learn(self, task: TaskSpec, network: nn.Module, run: TrainingRun) -> tuple[Result, Calibration | None]:
        """Train on labelled cases; simulated clicks choose the epoch."""
        judge = ClickValidation(run.val_cases, task.image, task.labels, task.object) if run.val_cases else None
        return learn_labels(task, network, run, judge)

    def judge(self, network: nn.Module, cases: Sequence[Case], task: TaskSpec, *, device: torch.device) -> list[Judged]:
        """Return Dice after simulated clicks, and time, of each case."""
        return judge_clicks(network, cases, task.image, task.labels, task.object, device=device)
