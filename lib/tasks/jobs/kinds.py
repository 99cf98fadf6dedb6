"""What each kind of job does: the app is opened in the job's own process, and asked as MONAI Label would."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, cast

import torch
from monailabel.interfaces.utils.app import app_instance

from lib.jobs.policy import TRAIN
from lib.jobs.queue.job import SUBMITTED, Job
from lib.jobs.queue.run import Kind, Run
from lib.jobs.recorded import recorded
from lib.learning.loop import progress
from lib.tasks.jobs.host import JobHost
from lib.tasks.segmentation.batch_infer import OneByOne
from lib.tasks.serving.result import first
from lib.tasks.strategies.case_scores import SCORING, CaseScores
from lib.tasks.strategies.score_cases import ScoreCases, Standing
from lib.tasks.strategies.scorer import Scorer

logger = logging.getLogger(__name__)

BATCH_INFER = "batch_infer"


def train(run: Run) -> dict[str, Any]:
    """Train a task; an interrupted training goes on from its last checkpoint."""
    app, job = _app(), run.job

    def report(standing: progress.Standing) -> None:
        eta = standing.eta_seconds if standing.eta_seconds < float("inf") else None
        facts = {"fraction": standing.step / standing.steps, "text": str(standing), "eta_seconds": eta}
        run.tell(facts | {"epoch": standing.epoch, "step": standing.step})

    trainer = app.trainers[job.subject]
    return trainer({**job.request, "device": run.device}, app.datastore(), run=run_name(job), report=report)


def batch_infer(run: Run) -> dict[str, Any]:
    """Infer many studies; after an interruption, those that are left."""
    app, done = _app(), list(run.job.progress.get("done", ()))

    def tell(image: str, total: int) -> None:
        done.append(image)
        run.tell({"done": done, "fraction": len(done) / total, "text": f"study {len(done)} of {total}"})

    before = {image: {"label": image} for image in done}
    with _recorded(app, run):
        answer = OneByOne(done, tell)({**run.job.request, "device": run.device}, app.datastore(), app.infer)
    return before | answer


def scoring(run: Run) -> dict[str, Any]:
    """Score predicted labels against final ones, or cases for the strategies of a task."""
    app = _app()
    method = app.scorings.get(run.job.subject)
    with _recorded(app, run):
        answer: Any = _case_scores(app, run, method) if isinstance(method, CaseScores) else app.scoring(run.job.request)
    return answer


def _case_scores(app: JobHost, run: Run, method: CaseScores) -> dict[str, Any]:
    """Score cases one by one; a training that waits has the device first, and a successor goes on behind it."""

    def tell(standing: Standing) -> None:
        run.tell({"fraction": standing.fraction, "text": str(standing), "eta_seconds": standing.eta_seconds})

    def gives_way() -> bool:
        return any(job.kind == TRAIN and job.status == SUBMITTED for job in app.queue.jobs.list(going=True))

    scorer = Scorer(app.app_dir, method.task, device=run.device)
    work = ScoreCases(method.scores, scorer, tell, gives_way)
    answer = work.run(method.studies(app.datastore(), scorer.maker))
    if answer["gave_way"]:
        app.queue.submit(SCORING, method.name, method.request(scorer.maker.version), origin=run.job.origin)
    return answer


KINDS: dict[str, Kind] = {TRAIN: train, BATCH_INFER: batch_infer, SCORING: scoring}


def run_name(job: Job) -> str:
    """Return the name of a train job's run and version; names sort by age."""
    return f"{datetime.fromtimestamp(job.created, UTC):%Y%m%d-%H%M%S}-{job.id[:6]}"


def devices(job: Job) -> Sequence[str]:
    """Return the devices that will do for a job: the one it asks for, else any GPU, else the CPU."""
    asked = str(first(job.request.get("device")) or "")
    if not torch.cuda.is_available() or asked.startswith("cpu"):
        return ["cpu"]
    every = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [each for each in every if asked.startswith(each)] or every


def _app() -> JobHost:
    return cast(JobHost, app_instance())


def _recorded(app: JobHost, run: Run) -> AbstractContextManager[dict[str, Any]]:
    resumed = run.job.fraction > 0
    return recorded(app.ledger, run.job.subject, run.job.id, kind=run.job.kind, resumed=resumed)
