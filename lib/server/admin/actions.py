"""What an admin may do: stop a job, train, promote a version, roll back. What changes is shown before it does.

Each goes through the function that the command line and MONAI Label's routes call.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from lib.jobs.policy import TRAIN
from lib.jobs.queue.job import GOING
from lib.server.admin.access import Admin, App
from lib.server.admin.rendering import PREFIX, PageRoute, refusing, render
from lib.server.admin.state import queue, versions
from lib.server.auth.routes import checked_form
from lib.server.refusals import Refused
from lib.tasks.jobs.answers import QueuedTasks
from lib.tasks.serving.models import promote, rollback
from lib.tasks.serving.weights import shelf

DONE = {
    "queued": "The training is in the queue.",
    "nothing": "Nothing was due: no label was accepted since the last training.",
    "stopped": "The job is stopped. Nothing that it learned is served.",
    "promoted": "The version is served from the next image on.",
    "rolled_back": "The former version is served again from the next image on.",
}
"""What a page says after a deed; a word in its address chooses one of these."""
OURS = [Depends(checked_form)]
router = APIRouter(prefix=PREFIX, route_class=PageRoute, include_in_schema=False)


@router.post("/train", dependencies=OURS)
def train(request: Request, app: App, user: Admin, model: Annotated[str, Form()] = "") -> RedirectResponse:
    """Queue the trainings that are due; of one task whether due or not, if it is named."""
    tasks, who = QueuedTasks(app), {"client_id": user.username}
    if not model:
        answers = tasks.update(who).values()
        return _back(request, "", "queued" if any(answer["result"] for answer in answers) else "nothing")
    task, reason = tasks.run(TRAIN, {"model": model}, who)
    if task is None:
        raise Refused(409, "ALREADY_TRAINING", f"{reason}.", "Wait until it ends, or stop it first.")
    return _back(request, "", "queued")


@router.get("/stop/{job}")
def ask_stop(request: Request, app: App, user: Admin, job: str) -> HTMLResponse:
    """Show what would be lost."""
    with refusing(404, "NO_SUCH_JOB"):
        found = app.queue.jobs.get(job)
    if found.status not in GOING:
        raise Refused(409, "OVER", f"The job is over: {queue.WORDS[found.status]}.", "Look at the queue.")
    return render(request, "stop.html", app=app.spec.name, entry=queue.Entry(found))


@router.post("/stop/{job}", dependencies=OURS)
def stop(request: Request, app: App, user: Admin, job: str) -> RedirectResponse:
    """Stop a job that waits or runs."""
    with refusing(409, "NOT_STOPPED"):
        app.queue.stop(job)
    return _back(request, "", "stopped")


@router.get("/promote/{task}/{name}")
def ask_promote(request: Request, app: App, user: Admin, task: str, name: str) -> HTMLResponse:
    """Show what a version would replace, and how both did."""
    with refusing(404, "NO_SUCH_VERSION"):
        change = versions.change(app.app_dir, app.spec, task, name)
    if change.now == name:
        raise Refused(409, "SERVED", f"{name} is served already.", "Choose another version.")
    return render(request, "change.html", app=app.spec.name, change=change, deed="promote")


@router.post("/promote/{task}/{name}", dependencies=OURS)
def do_promote(
    request: Request, app: App, user: Admin, task: str, name: str, served: Annotated[str, Form()]
) -> RedirectResponse:
    """Serve a version, if what is served is still what the admin saw."""
    with refusing(409, "NOT_PROMOTED"):
        _check(app, task, served)
        promote(app.app_dir, task, name, by=user.username)
    return _back(request, "/versions", "promoted")


@router.get("/rollback/{task}")
def ask_rollback(request: Request, app: App, user: Admin, task: str) -> HTMLResponse:
    """Show what a rollback would serve, and how both did."""
    with refusing(404, "NOTHING_BEFORE"):
        change = versions.change(app.app_dir, app.spec, task)
    return render(request, "change.html", app=app.spec.name, change=change, deed="rollback")


@router.post("/rollback/{task}", dependencies=OURS)
def do_rollback(request: Request, app: App, user: Admin, task: str, served: Annotated[str, Form()]) -> RedirectResponse:
    """Serve what was served before, if what is served is still what the admin saw."""
    with refusing(409, "NOT_ROLLED_BACK"):
        _check(app, task, served)
        rollback(app.app_dir, task, by=user.username)
    return _back(request, "/versions", "rolled_back")


def _check(app: App, task: str, served: str) -> None:
    now = shelf(app.app_dir, app.spec.task(task)).served
    if now != served:
        raise ValueError(f"{now or 'nothing'} is served by now, and not {served}: look again before you decide")


def _back(request: Request, page: str, done: str) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '').rstrip('/')}{PREFIX}{page}?done={done}", 303)
