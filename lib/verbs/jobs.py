"""Commands for the queue: list, show and stop jobs, and run the worker."""

import logging
import sys
from typing import Annotated, Any

import typer

from lib.verbs.arguments import App, Json, check_app
from lib.verbs.console import exit_with_error, print_answer

jobs = typer.Typer(no_args_is_help=True, help="The queue: list, show and stop jobs, and run the worker.")
JobId = Annotated[str, typer.Argument(help="id of the job, or the first digits of the id", metavar="JOB")]


@jobs.command("list")
def jobs_list(
    app: App,
    last: Annotated[int, typer.Option(help="number of newest jobs to list", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """List jobs with their progress, their position in the queue, and the reason of a failure."""
    from lib.jobs.queue.broker import Queue

    def work() -> dict[str, Any]:
        queue = Queue(check_app(app))
        found, waiting = queue.jobs.list(), queue.waiting()
        listed = [job.as_dict() | {"position": queue.position(job, waiting)} for job in found[-last:]]
        return {"jobs": listed, "of": len(found)}

    print_answer(work, as_json)


@jobs.command("show")
def jobs_show(app: App, job: JobId, as_json: Json = False) -> None:
    """Show one job, with its result and the end of its log."""
    from lib.jobs.queue.broker import Queue

    def work() -> dict[str, Any]:
        queue = Queue(check_app(app))
        return queue.show(queue.jobs.get(job))

    print_answer(work, as_json)


@jobs.command("stop")
def jobs_stop(app: App, job: JobId, as_json: Json = False) -> None:
    """Stop a waiting or running job; a stopped training makes no model version."""
    from lib.jobs.queue.broker import Queue

    print_answer(lambda: Queue(check_app(app)).stop(job).as_dict(), as_json)


@jobs.command("work")
def jobs_work(
    app: App,
    studies: Annotated[str, typer.Option(help="folder of images, or the URL of a DICOMweb server")],
    parent: Annotated[int, typer.Option(help="id of a process; the worker ends with it", hidden=True)] = 0,
) -> None:
    """Run the worker of an app until interrupted, with one job per device; `serve` starts it automatically."""
    from lib.server.work import work

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        work(app, studies, parent)
    except (ValueError, OSError, RuntimeError) as error:
        exit_with_error(error)


@jobs.command("run", hidden=True)
def jobs_run(app: App, job: JobId, parent: Annotated[int, typer.Option()] = 0) -> None:
    """Do one job in this process; the worker calls this command."""
    from lib.server.work import run

    logging.basicConfig(level=logging.INFO, format="[%(asctime)s] [%(levelname)s] %(message)s", stream=sys.stderr)
    logging.getLogger("ignite").setLevel(logging.WARNING)
    raise typer.Exit(0 if run(app, job, parent) else 1)
