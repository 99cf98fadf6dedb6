"""The queue on the command line: what runs, what waits, what came of it, and the worker."""

import logging
import sys
from typing import Annotated, Any

import typer

from lib.verbs.arguments import App, Json, existing
from lib.verbs.console import fail, tell

jobs = typer.Typer(no_args_is_help=True, help="The queue: what runs, what waits, what came of it, and the worker.")
JobId = Annotated[str, typer.Argument(help="id of the job, or its beginning", metavar="JOB")]


@jobs.command("list")
def jobs_list(
    app: App,
    last: Annotated[int, typer.Option(help="only so many, the newest", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Tell the jobs: what runs, how far, what waits where in the queue, and why one failed."""
    from lib.jobs.queue.broker import Queue

    def work() -> dict[str, Any]:
        queue = Queue(existing(app))
        found, waiting = queue.jobs.list(), queue.waiting()
        told = [job.as_dict() | {"position": queue.position(job, waiting)} for job in found[-last:]]
        return {"jobs": told, "of": len(found)}

    tell(work, as_json)


@jobs.command("show")
def jobs_show(app: App, job: JobId, as_json: Json = False) -> None:
    """Tell one job, with what came of it and the end of its log."""
    from lib.jobs.queue.broker import Queue

    def work() -> dict[str, Any]:
        queue = Queue(existing(app))
        return queue.show(queue.jobs.get(job))

    tell(work, as_json)


@jobs.command("stop")
def jobs_stop(app: App, job: JobId, as_json: Json = False) -> None:
    """Stop a job that waits or runs; nothing that it learned is served."""
    from lib.jobs.queue.broker import Queue

    tell(lambda: Queue(existing(app)).stop(job).as_dict(), as_json)


@jobs.command("work")
def jobs_work(
    app: App,
    studies: Annotated[str, typer.Option(help="folder of images, or the URL of a DICOMweb server")],
    parent: Annotated[int, typer.Option(help="process that this one ends with", hidden=True)] = 0,
) -> None:
    """Do the jobs of an app, one per device, until interrupted; `serve` starts this by itself."""
    from lib.server.work import work

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        work(app, studies, parent)
    except (ValueError, OSError, RuntimeError) as error:
        fail(error)


@jobs.command("run", hidden=True)
def jobs_run(app: App, job: JobId, parent: Annotated[int, typer.Option()] = 0) -> None:
    """Do one job that a worker began, in this process."""
    from lib.server.work import run

    logging.basicConfig(level=logging.INFO, format="[%(asctime)s] [%(levelname)s] %(message)s", stream=sys.stderr)
    logging.getLogger("ignite").setLevel(logging.WARNING)
    raise typer.Exit(0 if run(app, job, parent) else 1)
