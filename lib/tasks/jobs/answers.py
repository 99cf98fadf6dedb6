"""MONAI Label's own task functions on the durable queue: its routes keep their addresses, status codes and shapes.

MONAI Label keeps its jobs in the memory of the server; every route and the app itself go through `AsyncTask`, whose
three functions are replaced here. The one route that differs is ``POST /train/``: it trains what is due.
"""

import time
from collections.abc import Sequence
from typing import Any

from monailabel.endpoints import train as train_routes
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.utils.async_tasks.task import AsyncTask

from lib.jobs.policy import TRAIN, new_labels
from lib.jobs.queue.job import DONE, GOING, RUNNING, Job, said
from lib.tasks.jobs.host import JobHost
from lib.tasks.jobs.kinds import BATCH_INFER, KINDS
from lib.tasks.strategies.case_scores import SCORING

POLL_SECONDS = 0.5
NOTHING_NEW = "No label was accepted since the last training; POST to /train/{model} trains all the same"
Answer = tuple[Any, str | None]


def answer_from(app: JobHost) -> None:
    """Let MONAI Label's routes answer from an app's queue."""
    tasks = QueuedTasks(app)
    for name in ("run", "status", "stop"):
        setattr(AsyncTask, name, staticmethod(getattr(tasks, name)))
    train_routes.run = tasks.update


def active_first(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs with those at work before those that wait."""
    return sorted(jobs, key=lambda job: (job.status != RUNNING, job.number))


class QueuedTasks:
    """What MONAI Label calls a task: a dict with ``id``, ``status``, ``request``, ``start_ts``, ``details``.

    Args:
        app: Whose queue it is.
    """

    def __init__(self, app: JobHost) -> None:
        self._app, self._queue = app, app.queue

    def run(
        self,
        method: str,
        request: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        force_sync: bool = False,
        enqueue: bool = False,
    ) -> Answer:
        """Submit a job.

        Args:
            method: "train", "batch_infer" or "scoring".
            request: What the address says.
            params: What the body says.
            force_sync: Whether to wait for the end, and answer what came of it.
            enqueue: Whether it may wait behind another of its kind.
        Returns:
            The task and None; None and the reason, where another one is going on.
        """
        if not enqueue and self._queue.jobs.list(method, going=True):
            return None, f"++++++++++ {method.capitalize()} Task is Already Running"
        asked = {**(request or {}), **self._app.info().get("config", {}).get(method, {}), **(params or {})}
        job = self._queue.submit(method, self._subject(method, asked), asked, origin=str(asked.get("client_id") or ""))
        return (self._wait(job) if force_sync else self.task(job)), None

    def status(self, method: str, all: bool = False, check_if_running: bool = False) -> Answer:
        """Return a task: the one at work, else the last.

        Args:
            method: As in `run`.
            all: Whether to return the list of all.
            check_if_running: Only one that is not over.
        Returns:
            The task and None; None and the reason, where there is none.
        """
        going = active_first(self._queue.jobs.list(method, going=True))
        if check_if_running:
            none = f"No {method.capitalize()} Tasks are currently Running"
            return (self.task(going[0]), None) if going else (None, none)
        jobs = self._queue.jobs.list(method)
        if not jobs:
            return None, f"No {method.capitalize()} Tasks Found"
        if all:
            return [self.task(job) for job in jobs], None
        return self.task(going[0] if going else jobs[-1]), None

    def stop(self, method: str) -> dict[str, Any] | None:
        """Stop the job at work, else the next one; return its task, None where there is none."""
        for job in active_first(self._queue.jobs.list(method, going=True)):
            if self._queue.jobs.stop(job.id):
                return self.task(self._queue.jobs.get(job.id))
        return None

    def update(self, params: dict[str, Any] | None = None, run_sync: bool | None = False) -> dict[str, Any]:
        """Train what is due: the tasks that have labels which no training has seen; for ``POST /train/``."""
        result: dict[str, Any] = {}
        for model in self._app.trainers:
            own = (params or {}).get(model)
            going = [job for job in self._queue.jobs.list(TRAIN, going=True) if job.subject == model]
            if going:
                result[model] = {"result": self.task(going[0]), "detail": "Train Task is Already Running"}
            elif not new_labels(self._queue.ledger, model):
                result[model] = {"result": None, "detail": NOTHING_NEW.format(model=model)}
            else:
                request = {"model": model, **(own if isinstance(own, dict) else {})}
                answer, detail = self.run(TRAIN, request, params, force_sync=bool(run_sync), enqueue=True)
                result[model] = {"result": answer, "detail": detail}
        return result

    def task(self, job: Job) -> dict[str, Any]:
        """Return a job in MONAI Label's shape, and what else is known of it."""
        told: dict[str, Any] = {"id": job.id, "status": job.status, "request": job.request}
        told["start_ts"] = said(job.started or job.created)
        if job.ended is not None:
            told["end_ts"] = said(job.ended)
        told["details"] = self._queue.tail(job)
        told |= {"position": self._queue.position(job), "progress": job.as_dict()["progress"], "reason": job.reason}
        return told

    def _subject(self, method: str, request: dict[str, Any]) -> str:
        key = "method" if method == SCORING else "model"
        known = {TRAIN: self._app.trainers, BATCH_INFER: self._app.infers, SCORING: self._app.scorings}[method]
        assert method in KINDS, "every kind has its names"
        if request.get(key) not in known:
            names = ", ".join(known) or "none"
            raise MONAILabelException(
                MONAILabelError.INVALID_INPUT, f"There is no {key} '{request.get(key)}' here; there is: {names}"
            )
        return str(request[key])

    def _wait(self, job: Job) -> Any:
        while job.status in GOING:
            time.sleep(POLL_SECONDS)
            job = self._queue.jobs.get(job.id)
        if job.status != DONE:
            raise MONAILabelException(MONAILabelError.SERVER_ERROR, f"{job.kind} {job.status}: {job.reason}")
        return job.result
