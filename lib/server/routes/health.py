"""Whether the server lives, whether it can do its work, and its figures for Prometheus."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lib.jobs.queue.job import DONE, ERROR, GOING, STOPPED
from lib.server.metrics import REGISTRY, Gauges
from lib.server.refusals import Refused
from lib.server.routes.infer import CLICKS, FETCHES, IMAGES
from lib.server.routes.request import FILES, app_at_work
from lib.tasks.app import TopoLabelApp
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.infer import ClickInfer

MIN_FREE_BYTES = 1 << 30
LANES = (IMAGES, CLICKS, FETCHES, FILES)
STATES = (*GOING, DONE, ERROR, STOPPED)

router = APIRouter(tags=["Health"])


@router.get("/health", summary="Whether the server lives")
async def health() -> dict[str, str]:
    """Answer, without looking at anything."""
    return {"status": "alive"}


@router.get("/ready", summary="Whether the server can do its work", responses={503: {"description": "Not ready"}})
def ready() -> JSONResponse:
    """Say that models are there, the disk takes files and the ledger can be read; 503 with the reasons if not."""
    reasons = list(_reasons(app_at_work()))
    if reasons:
        raise Refused(503, "NOT_READY", " ".join(reasons), "Mend what is named; no restart is needed.", reasons=reasons)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics() -> Response:
    """Return the figures in Prometheus' own format."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


def _reasons(app: TopoLabelApp) -> Iterator[str]:
    for name, task in app.infers.items():
        if task.get_path() is None:
            yield f"{name} has no weights."
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
        yield f"The disk of the {what} takes no file: {error.strerror}."
        return
    if free < MIN_FREE_BYTES:
        yield f"The disk of the {what} has {free / 2**20:.0f} MiB left."


def _jobs() -> Iterator[tuple[str, float]]:
    counts = Counter(job.status for job in app_at_work().queue.jobs.list())
    yield from ((state, counts[state]) for state in STATES)


def _cached() -> Iterator[tuple[str, float]]:
    clickers: dict[int, Clicker] = {}
    for task in app_at_work().infers.values():
        if isinstance(task, ClickInfer):
            clickers[id(task.clicker)] = task.clicker
    yield "embeddings", sum(each.embeddings.counts.held_bytes for each in clickers.values())
    yield "volumes", sum(each.volumes.counts.held_bytes for each in clickers.values())
    yield "proposals", app_at_work().proposals.held_bytes


Gauges("topolabel_running", "Requests at work", "lane", lambda: ((lane.name, lane.running) for lane in LANES))
Gauges("topolabel_waiting", "Requests that wait", "lane", lambda: ((lane.name, lane.waiting) for lane in LANES))
Gauges("topolabel_jobs", "Jobs by state", "state", _jobs)
Gauges("topolabel_cache_bytes", "What is kept in memory for the next request", "cache", _cached)
