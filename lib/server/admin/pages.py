"""The admin pages: Queue, Versions, Labels, Annotators and Machine."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from lib.server.admin import actions, pictures
from lib.server.admin.access import Admin, App, Reviewer
from lib.server.admin.rendering import PREFIX, STATIC, PageRoute, refusing, render
from lib.server.admin.state import annotators, history, labels, queue, tasks, versions
from lib.server.admin.state.machine import machine
from lib.tasks.serving.models import show_model
from lib.tasks.serving.weights import open_task_versions

LABELS_SHOWN = 12
router = APIRouter(prefix=PREFIX, route_class=PageRoute, include_in_schema=False)


def install(app: FastAPI) -> None:
    """Add the admin pages, their actions, pictures and static files to an application."""
    app.mount(f"{PREFIX}/static", StaticFiles(directory=STATIC), name="admin")
    for part in (router, actions.router, pictures.router):
        app.include_router(part)


@router.get("")
def show_queue(request: Request, app: App, user: Reviewer, done: str = "") -> HTMLResponse:
    """Show running, waiting and ended jobs, and the tasks with their served versions."""
    facts = {"tasks": tasks.tasks(app), "board": queue.board(app.queue), "done": actions.NOTICES.get(done, "")}
    return render(request, "queue.html", app=app.spec.name, **facts)


@router.get("/live")
def show_live(request: Request, app: App, user: Reviewer) -> HTMLResponse:
    """Show the part of the Queue page that changes, for the script that refreshes it."""
    return render(request, "live.html", tasks=tasks.tasks(app), board=queue.board(app.queue))


@router.get("/versions")
def show_versions(request: Request, app: App, user: Reviewer, done: str = "") -> HTMLResponse:
    """Show the versions of every task, with plots."""
    rows, shown = labels.window(app.ledger), []
    for spec in app.spec.tasks:
        task = versions.task(app.app_dir, app.spec, spec.name)
        points, weeks = history.points(task), history.weeks(rows, task.name)
        shown.append((task, points, weeks, pictures.stamp(points, weeks)))
    facts = {"tasks": shown, "done": actions.NOTICES.get(done, "")}
    return render(request, "versions.html", app=app.spec.name, **facts)


@router.get("/versions/{task}/{name}")
def show_version(request: Request, app: App, user: Reviewer, task: str, name: str) -> HTMLResponse:
    """Show the training data of a version, its scores, and why it is served or not."""
    with refusing(404, "NO_SUCH_VERSION"):
        details = show_model(app.app_dir, task, name)
    place = open_task_versions(app.app_dir, app.spec.task(task))
    served = None if details["served"] else versions.find_scores(place, place.served)
    facts = {"details": details, "sides": (versions.find_scores(place, name), served), "served": place.served}
    return render(request, "version.html", app=app.spec.name, task=task, **facts)


@router.get("/labels")
def show_labels(request: Request, app: App, user: Reviewer, before: int = 0, findings: bool = False) -> HTMLResponse:
    """Show the files that are not used as labels, and the newest labels with their findings and pictures."""
    rows = labels.window(app.ledger)
    newest = labels.saved(rows, before=max(before, 0), count=LABELS_SHOWN, with_findings=findings)
    more = bool(newest) and bool(labels.saved(rows, before=newest[-1].row.seq, count=1, with_findings=findings))
    refused, waiting = labels.not_used(app.datastore())
    facts = {"saved": newest, "more": more, "with_findings": findings, "window": labels.WINDOW_ROWS}
    facts |= {"refused": refused, "waiting": waiting}
    return render(request, "labels.html", app=app.spec.name, **facts)


@router.get("/annotators")
def show_annotators(request: Request, app: App, user: Admin) -> HTMLResponse:
    """Show the number of labels and the working time of every annotator."""
    rows = labels.window(app.ledger)
    facts = {"people": annotators.by_person(rows), "days": annotators.by_day(rows), "window": labels.WINDOW_ROWS}
    facts |= {"leases": app.leases.list_active(), "saved": annotators.saved(rows), "share": app.spec.control_share}
    return render(request, "annotators.html", app=app.spec.name, **facts)


@router.get("/machine")
def show_machine(request: Request, app: App, user: Admin) -> HTMLResponse:
    """Show disks, memory, GPUs, caches and software."""
    return render(request, "machine.html", app=app.spec.name, machine=machine(app))
