"""The admin's pages: the queue, the versions, the labels, who labelled, and the machine."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from lib.server.admin import actions, pictures
from lib.server.admin.access import Admin, App, Reviewer
from lib.server.admin.rendering import PREFIX, STATIC, PageRoute, refusing, render
from lib.server.admin.state import annotators, history, labels, queue, tasks, versions
from lib.server.admin.state.machine import machine
from lib.tasks.serving.models import show_model
from lib.tasks.serving.weights import shelf

LABELS_SHOWN = 12
router = APIRouter(prefix=PREFIX, route_class=PageRoute, include_in_schema=False)


def install(app: FastAPI) -> None:
    """Add the pages, what their buttons do, their pictures and their files to an application."""
    app.mount(f"{PREFIX}/static", StaticFiles(directory=STATIC), name="admin")
    for each in (router, actions.router, pictures.router):
        app.include_router(each)


@router.get("")
def show_queue(request: Request, app: App, user: Reviewer, done: str = "") -> HTMLResponse:
    """Show what runs, waits and ended, what is served, and what may be trained."""
    facts = {"tasks": tasks.tasks(app), "board": queue.board(app.queue), "done": actions.DONE.get(done, "")}
    return render(request, "queue.html", app=app.spec.name, **facts)


@router.get("/live")
def show_live(request: Request, app: App, user: Reviewer) -> HTMLResponse:
    """Show the part of the queue that changes, for the script that renews it."""
    return render(request, "live.html", tasks=tasks.tasks(app), board=queue.board(app.queue))


@router.get("/versions")
def show_versions(request: Request, app: App, user: Reviewer, done: str = "") -> HTMLResponse:
    """Show the versions of every task, with plots."""
    rows, shown = labels.window(app.ledger), []
    for each in app.spec.tasks:
        task = versions.task(app.app_dir, app.spec, each.name)
        points, weeks = history.points(task), history.weeks(rows, task.name)
        shown.append((task, points, weeks, pictures.stamp(points, weeks)))
    facts = {"tasks": shown, "done": actions.DONE.get(done, "")}
    return render(request, "versions.html", app=app.spec.name, **facts)


@router.get("/versions/{task}/{name}")
def show_version(request: Request, app: App, user: Reviewer, task: str, name: str) -> HTMLResponse:
    """Show where a version comes from, how it did, and why it is served or not."""
    with refusing(404, "NO_SUCH_VERSION"):
        told = show_model(app.app_dir, task, name)
    place = shelf(app.app_dir, app.spec.task(task))
    sides = versions.measured_of(place, name), None if told["served"] else versions.measured_of(place, place.served)
    return render(request, "version.html", app=app.spec.name, task=task, told=told, sides=sides, served=place.served)


@router.get("/labels")
def show_labels(request: Request, app: App, user: Reviewer, before: int = 0, findings: bool = False) -> HTMLResponse:
    """Show the labels saved last with their findings and pictures."""
    rows = labels.window(app.ledger)
    found = labels.saved(rows, before=max(before, 0), count=LABELS_SHOWN, only_found=findings)
    more = bool(found) and bool(labels.saved(rows, before=found[-1].row.seq, count=1, only_found=findings))
    facts = {"saved": found, "more": more, "only_found": findings, "window": labels.WINDOW_ROWS}
    return render(request, "labels.html", app=app.spec.name, **facts)


@router.get("/annotators")
def show_annotators(request: Request, app: App, user: Admin) -> HTMLResponse:
    """Show who labelled how much."""
    rows = labels.window(app.ledger)
    facts = {"people": annotators.by_person(rows), "days": annotators.by_day(rows), "window": labels.WINDOW_ROWS}
    facts |= {"leases": app.leases.held(), "saved": annotators.saved(rows), "share": app.spec.control_share}
    return render(request, "annotators.html", app=app.spec.name, **facts)


@router.get("/machine")
def show_machine(request: Request, app: App, user: Admin) -> HTMLResponse:
    """Show disks, memory, GPUs, caches and software."""
    return render(request, "machine.html", app=app.spec.name, machine=machine(app))
