"""The actions of an admin: train, stop a job, promote a version and roll back, with a page to confirm a change.

The actions call the same functions as the command line and MONAI Label's routes.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from lib.jobs.policy import TRAIN
from lib.jobs.queue.job import UNFINISHED
from lib.server.admin.access import Admin, App
from lib.server.admin.rendering import PREFIX, PageRoute, refusing, render
from lib.server.admin.state import queue, versions
from lib.server.auth.routes import checked_form
from lib.server.refusals import Refused
from lib.tasks.jobs.queued_tasks import QueuedTasks
from lib.tasks.serving.models import promote, rollback
from lib.tasks.serving.weights import open_task_versions

NOTICES = {
    "queued": "The training is in the queue.",
    "nothing": "No training was started: there are no new labels since the last training.",
    "stopped": "The job is stopped. It makes no version, and the served version stays.",
    "promoted": "The version is served, starting with the next image.",
    "rolled_back": "The previous version is served again, starting with the next image.",
}
"""The notice on the page after an action, by the value of ``done`` in the page's address."""
FORM_CHECKS = [Depends(checked_form)]
router = APIRouter(prefix=PREFIX, route_class=PageRoute, include_in_schema=False)


@router.post("/train", dependencies=FORM_CHECKS)
def train(request: Request, app: App, user: Admin, model: Annotated[str, Form()] = "") -> RedirectResponse:
    """Queue a training of the given task, or of all tasks with new labels if none is given."""
    tasks, sender = QueuedTasks(app), {"client_id": user.username}
    if not model:
        answers = tasks.update(sender).values()
        return _redirect(request, "", "queued" if any(answer["result"] for answer in answers) else "nothing")
    task, reason = tasks.run(TRAIN, {"model": model}, sender)
    if task is None:
        raise Refused(409, "ALREADY_TRAINING", f"{reason}.", "Wait until the training ends, or stop it first.")
    return _redirect(request, "", "queued")


@router.get("/stop/{job}")
def confirm_stop(request: Request, app: App, user: Admin, job: str) -> HTMLResponse:
    """Show a job and what stopping it would discard."""
    with refusing(404, "NO_SUCH_JOB"):
        found = app.queue.jobs.get(job)
    if found.status not in UNFINISHED:
        reason = f"The job has ended already: {queue.STATE_NAMES[found.status]}."
        raise Refused(409, "OVER", reason, "See the outcome on the Queue page.")
    return render(request, "stop.html", app=app.spec.name, entry=queue.Entry(found))


@router.post("/stop/{job}", dependencies=FORM_CHECKS)
def stop(request: Request, app: App, user: Admin, job: str) -> RedirectResponse:
    """Stop a waiting or running job."""
    with refusing(409, "NOT_STOPPED"):
        app.queue.stop(job)
    return _redirect(request, "", "stopped")


@router.get("/promote/{task}/{name}")
def confirm_promote(request: Request, app: App, user: Admin, task: str, name: str) -> HTMLResponse:
    """Show which version a promotion would replace, and the scores of both versions."""
    with refusing(404, "NO_SUCH_VERSION"):
        change = versions.change(app.app_dir, app.spec, task, name)
    if change.now == name:
        raise Refused(409, "SERVED", f"{name} is already served.", "Choose another version.")
    return render(request, "change.html", app=app.spec.name, change=change, action="promote")


@router.post("/promote/{task}/{name}", dependencies=FORM_CHECKS)
def do_promote(
    request: Request, app: App, user: Admin, task: str, name: str, served: Annotated[str, Form()]
) -> RedirectResponse:
    """Promote a version, unless the served version has changed since the admin opened the page."""
    with refusing(409, "NOT_PROMOTED"):
        _check_unchanged(app, task, served)
        promote(app.app_dir, task, name, by=user.username)
    return _redirect(request, "/versions", "promoted")


@router.get("/rollback/{task}")
def confirm_rollback(request: Request, app: App, user: Admin, task: str) -> HTMLResponse:
    """Show which version a rollback would serve, and the scores of both versions."""
    with refusing(404, "NOTHING_BEFORE"):
        change = versions.change(app.app_dir, app.spec, task)
    return render(request, "change.html", app=app.spec.name, change=change, action="rollback")


@router.post("/rollback/{task}", dependencies=FORM_CHECKS)
def do_rollback(request: Request, app: App, user: Admin, task: str, served: Annotated[str, Form()]) -> RedirectResponse:
    """Serve the previous version, unless the served version has changed since the admin opened the page."""
    with refusing(409, "NOT_ROLLED_BACK"):
        _check_unchanged(app, task, served)
        rollback(app.app_dir, task, by=user.username)
    return _redirect(request, "/versions", "rolled_back")


def _check_unchanged(app: App, task: str, served: str) -> None:
    now = open_task_versions(app.app_dir, app.spec.task(task)).served
    if now != served:
        raise ValueError(f"the served version is now {now or 'none'}, not {served}: reload the page and decide again")


def _redirect(request: Request, page: str, done: str) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '').rstrip('/')}{PREFIX}{page}?done={done}", 303)
