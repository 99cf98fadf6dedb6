"""The routes for monitoring: liveness, readiness and metrics for Prometheus."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lib.jobs.queue.job import DONE, ERROR, STOPPED, UNFINISHED
from lib.server.metrics import REGISTRY, CallbackGauge
from lib.server.refusals import Refused
from lib.server.routes.infer import CLICK_EXECUTOR, FETCH_EXECUTOR, IMAGE_EXECUTOR
from lib.server.routes.request import FILE_EXECUTOR, served_app
from lib.tasks.app import TopoLabelApp
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.infer import ClickInfer

MIN_FREE_BYTES = 1 << 30
EXECUTORS = (IMAGE_EXECUTOR, CLICK_EXECUTOR, FETCH_EXECUTOR, FILE_EXECUTOR)
STATES = (*UNFINISHED, DONE, ERROR, STOPPED)

router = APIRouter(tags=["Health"])


@router.get("/health", summary="Return whether the server process runs")
async def health() -> dict[str, str]:
    """Answer at once, without any checks."""
    return {"status": "alive"}


@router.get("/ready", summary="Return whether the server is ready", responses={503: {"description": "Not ready"}})
def ready() -> JSONResponse:
    """Check that weights exist, the disks are writable and the ledger is readable; answer 503 with reasons if not."""
    reasons = list(_reasons(served_app()))
    if reasons:
        remedy = "Correct the faults listed in the reason; no restart is needed."
        raise Refused(503, "NOT_READY", " ".join(reasons), remedy, reasons=reasons)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
def metrics() -> Response:
    """Return the metrics in the text format of Prometheus."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


def _reasons(app: TopoLabelApp) -> Iterator[str]:
    for name, task in app.infers.items():
        if task.get_path() is None:
            yield f"The model {name} has no weights."
    folders = [Path(app.app_dir)]
    if not app.studies.startswith(("http://", "https://")):
        folders.append(Path(app.studies))
    for what, folder in zip(("app's folder", "studies"), folders, strict=False):
        yield from _disk(what, folder)
    try:
        app.ledger.last()
    except OSError as error:
        yield f"The ledger cannot be read: {error.strerror}."


def _disk(what: str, folder: Path) -> Iterator[str]:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield f"No file can be written to the disk of the {what}: {error.strerror}."
        return
    if free < MIN_FREE_BYTES:
        yield f"The disk of the {what} has only {free / 2**20:.0f} MiB of free space."


def _jobs() -> Iterator[tuple[str, float]]:
    counts = Counter(job.status for job in served_app().queue.jobs.list())
    yield from ((state, counts[state]) for state in STATES)


def _cached() -> Iterator[tuple[str, float]]:
    clickers: dict[int, Clicker] = {}
    for task in served_app().infers.values():
        if isinstance(task, ClickInfer):
            clickers[id(task.clicker)] = task.clicker
    yield "embeddings", sum(clicker.embeddings.counts.held_bytes for clicker in clickers.values())
    yield "volumes", sum(clicker.volumes.counts.held_bytes for clicker in clickers.values())
    yield "proposals", served_app().proposals.held_bytes


CallbackGauge(
    "topolabel_running", "Running requests", "lane", lambda: ((lane.name, lane.running) for lane in EXECUTORS)
)
CallbackGauge(
    "topolabel_waiting", "Waiting requests", "lane", lambda: ((lane.name, lane.waiting) for lane in EXECUTORS)
)
CallbackGauge("topolabel_jobs", "Jobs by state", "state", _jobs)
CallbackGauge("topolabel_cache_bytes", "Bytes of the in-memory caches", "cache", _cached)
