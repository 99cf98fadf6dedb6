"""Connect MONAI Label's routes for jobs to the persistent queue, with the same URLs, status codes and JSON.

MONAI Label keeps jobs in the server's memory. Its routes and its app class call `AsyncTask`, whose three functions are
replaced here. Only ``POST /train/`` changes: it trains the tasks that have new labels.
"""

import time
from collections.abc import Sequence
from typing import Any

from monailabel.endpoints import train as train_routes
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.utils.async_tasks.task import AsyncTask

from lib.jobs.policy import TRAIN, count_new_labels
from lib.jobs.queue.job import DONE, RUNNING, UNFINISHED, Job, format_timestamp
from lib.tasks.jobs.host import JobHost
from lib.tasks.jobs.kinds import BATCH_INFER, KINDS
from lib.tasks.strategies.case_scores import SCORING

POLL_SECONDS = 0.5
NOTHING_NEW = "No label was submitted since the last training; POST /train/{model} trains all the same"
Answer = tuple[Any, str | None]


def route_tasks_to_queue(app: JobHost) -> None:
    """Replace the functions of MONAI Label's `AsyncTask` by those of an app's queue."""
    tasks = QueuedTasks(app)
    for name in ("run", "status", "stop"):
        setattr(AsyncTask, name, staticmethod(getattr(tasks, name)))
    train_routes.run = tasks.update


def running_first(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs sorted: running jobs first, then by number."""
    return sorted(jobs, key=lambda job: (job.status != RUNNING, job.number))


class QueuedTasks:
    """The jobs of an app's queue as MONAI Label's tasks: dicts with ``id``, ``status``, ``request``, ``start_ts``, ...

    Args:
        app: The app, which has the queue.
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
            request: Parameters from the URL.
            params: Parameters from the body, which replace those of the URL.
            force_sync: Whether to wait for the end of the job and return its result.
            enqueue: Whether the job may wait for an unfinished job of the same kind.
        Returns:
            The task (or result) and None; or None and the reason if an unfinished job blocks it.
        """
        if not enqueue and self._queue.jobs.list(method, unfinished=True):
            return None, f"++++++++++ {method.capitalize()} Task is Already Running"
        options = {**(request or {}), **self._app.info().get("config", {}).get(method, {}), **(params or {})}
        origin, subject = str(options.get("client_id") or ""), self._subject(method, options)
        if method == TRAIN:
            self._check_options(subject, options)
        job = self._queue.submit(method, subject, options, origin=origin)
        return (self._wait(job) if force_sync else self.task(job)), None

    def status(self, method: str, all: bool = False, check_if_running: bool = False) -> Answer:
        """Return the unfinished task that runs or is next; without one, the last task.

        Args:
            method: As in `run`.
            all: Whether to return the list of all tasks.
            check_if_running: Whether to return an unfinished task only.
        Returns:
            The task and None; or None and the reason if there is none.
        """
        unfinished = running_first(self._queue.jobs.list(method, unfinished=True))
        if check_if_running:
            none = f"No {method.capitalize()} Tasks are currently Running"
            return (self.task(unfinished[0]), None) if unfinished else (None, none)
        jobs = self._queue.jobs.list(method)
        if not jobs:
            return None, f"No {method.capitalize()} Tasks Found"
        if all:
            return [self.task(job) for job in jobs], None
        return self.task(unfinished[0] if unfinished else jobs[-1]), None

    def stop(self, method: str) -> dict[str, Any] | None:
        """Stop the running job, or else the next one. Return its task, None if no job was stopped."""
        for job in running_first(self._queue.jobs.list(method, unfinished=True)):
            if self._queue.jobs.stop(job.id):
                return self.task(self._queue.jobs.get(job.id))
        return None

    def update(self, params: dict[str, Any] | None = None, run_sync: bool | None = False) -> dict[str, Any]:
        """Submit a training for each task with labels newer than its last training; for ``POST /train/``."""
        result: dict[str, Any] = {}
        shared = {key: value for key, value in (params or {}).items() if key not in self._app.trainers}
        for model in self._app.trainers:
            options = (params or {}).get(model)
            unfinished = [job for job in self._queue.jobs.list(TRAIN, unfinished=True) if job.subject == model]
            if unfinished:
                result[model] = {"result": self.task(unfinished[0]), "detail": "Train Task is Already Running"}
            elif not count_new_labels(self._queue.ledger, model):
                result[model] = {"result": None, "detail": NOTHING_NEW.format(model=model)}
            else:
                request = {"model": model, **(options if isinstance(options, dict) else {})}
                answer, detail = self.run(TRAIN, request, shared, force_sync=bool(run_sync), enqueue=True)
                result[model] = {"result": answer, "detail": detail}
        return result

    def task(self, job: Job) -> dict[str, Any]:
        """Return a job with the keys of a MONAI Label task, its position, progress and reason."""
        facts: dict[str, Any] = {"id": job.id, "status": job.status, "request": job.request}
        facts["start_ts"] = format_timestamp(job.started or job.created)
        if job.ended is not None:
            facts["end_ts"] = format_timestamp(job.ended)
        facts["details"] = self._queue.tail(job)
        facts |= {"position": self._queue.position(job), "progress": job.as_dict()["progress"], "reason": job.reason}
        return facts

    def _subject(self, method: str, request: dict[str, Any]) -> str:
        key = "method" if method == SCORING else "model"
        known = {TRAIN: self._app.trainers, BATCH_INFER: self._app.infers, SCORING: self._app.scorings}[method]
        assert method in KINDS, "each kind of job has a table of names"
        if request.get(key) not in known:
            names = ", ".join(known) or "none"
            raise MONAILabelException(
                MONAILabelError.INVALID_INPUT, f"This app has no {key} '{request.get(key)}'; there is: {names}"
            )
        return str(request[key])

    def _check_options(self, model: str, options: dict[str, Any]) -> None:
        try:
            self._app.trainers[model].check_request(options)
        except ValueError as error:
            raise MONAILabelException(MONAILabelError.INVALID_INPUT, f"The training of '{model}': {error}") from None

    def _wait(self, job: Job) -> Any:
        while job.status in UNFINISHED:
            time.sleep(POLL_SECONDS)
            job = self._queue.jobs.get(job.id)
        if job.status != DONE:
            raise MONAILabelException(MONAILabelError.SERVER_ERROR, f"{job.kind} {job.status}: {job.reason}")
        return job.result
