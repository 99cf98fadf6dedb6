"""The kinds of job: each function opens the app in the job's process and calls it as MONAI Label does."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, cast

import torch
from monailabel.interfaces.utils.app import app_instance

from lib.jobs.job_record import record_job
from lib.jobs.policy import TRAIN
from lib.jobs.queue.job import SUBMITTED, Job
from lib.jobs.queue.run import Kind, Run
from lib.learning.loop import progress
from lib.tasks.jobs.host import JobHost
from lib.tasks.segmentation.batch_infer import SequentialBatchInfer
from lib.tasks.serving.result import first
from lib.tasks.strategies.case_scores import SCORING, CaseScores
from lib.tasks.strategies.score_cases import ScoreCases, ScoringProgress

logger = logging.getLogger(__name__)

BATCH_INFER = "batch_infer"


def train(run: Run) -> dict[str, Any]:
    """Train a task; an interrupted training resumes from its last checkpoint."""
    app, job = _app(), run.job

    def report(state: progress.TrainingProgress) -> None:
        eta = state.eta_seconds if state.eta_seconds < float("inf") else None
        facts = {"fraction": state.step / state.steps, "text": str(state), "eta_seconds": eta}
        run.report_progress(facts | {"epoch": state.epoch, "step": state.step})

    trainer = app.trainers[job.subject]
    return trainer({**job.request, "device": run.device}, app.datastore(), run=run_name(job), report=report)


def batch_infer(run: Run) -> dict[str, Any]:
    """Run inference on many studies; after an interruption, on the remaining ones."""
    app, done = _app(), list(run.job.progress.get("done", ()))

    def report_progress(image: str, total: int) -> None:
        done.append(image)
        run.report_progress({"done": done, "fraction": len(done) / total, "text": f"study {len(done)} of {total}"})

    before = {image: {"label": image} for image in done}
    with _recorded(app, run):
        answer = SequentialBatchInfer(done, report_progress)(
            {**run.job.request, "device": run.device}, app.datastore(), app.infer
        )
    return before | answer


def scoring(run: Run) -> dict[str, Any]:
    """Score predicted labels against final labels, or score cases for the strategies of a task."""
    app = _app()
    method = app.scorings.get(run.job.subject)
    with _recorded(app, run):
        answer: Any = _score_cases(app, run, method) if isinstance(method, CaseScores) else app.scoring(run.job.request)
    return answer


def _score_cases(app: JobHost, run: Run, method: CaseScores) -> dict[str, Any]:
    """Score cases. If a training waits for the device, end early and submit a job for the remaining cases."""

    def report_progress(state: ScoringProgress) -> None:
        run.report_progress({"fraction": state.fraction, "text": str(state), "eta_seconds": state.eta_seconds})

    def training_waits() -> bool:
        return any(job.kind == TRAIN and job.status == SUBMITTED for job in app.queue.jobs.list(unfinished=True))

    scorer = method.scorer(run.device)
    work = ScoreCases(method.scores, scorer, report_progress, training_waits)
    answer = work.run(method.studies(app.datastore(), scorer.source))
    if answer["gave_way"]:
        app.queue.submit(SCORING, method.name, method.request(scorer.source.version), origin=run.job.origin)
    return answer


KINDS: dict[str, Kind] = {TRAIN: train, BATCH_INFER: batch_infer, SCORING: scoring}


def run_name(job: Job) -> str:
    """Return the name of a train job's run and version; names sort by creation time."""
    return f"{datetime.fromtimestamp(job.created, UTC):%Y%m%d-%H%M%S}-{job.id[:6]}"


def devices(job: Job) -> Sequence[str]:
    """Return the devices that a job may use: the requested one, or else any GPU, or else the CPU."""
    requested = str(first(job.request.get("device")) or "")
    if not torch.cuda.is_available() or requested.startswith("cpu"):
        return ["cpu"]
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [gpu for gpu in gpus if requested.startswith(gpu)] or gpus


def _app() -> JobHost:
    return cast(JobHost, app_instance())


def _recorded(app: JobHost, run: Run) -> AbstractContextManager[dict[str, Any]]:
    resumed = run.job.fraction > 0
    return record_job(app.ledger, run.job.subject, run.job.id, kind=run.job.kind, resumed=resumed)
