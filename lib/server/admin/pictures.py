"""The pictures of the admin's pages: plots as SVG, labels on their images as PNG."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from lib.records.ledger import Row
from lib.server.admin import plots
from lib.server.admin.access import App, Reviewer
from lib.server.admin.overlays import Picture, overlay
from lib.server.admin.rendering import PREFIX, refusing
from lib.server.admin.state import history, labels, versions
from lib.server.guard import check_name
from lib.server.refusals import Refused
from lib.tasks.app import TopoLabelApp
from lib.tasks.store.folder import Keeping

# A plot's address holds the stamp of what it shows, an overlay's the label's hash: neither ever changes.
FOREVER = {"Cache-Control": "private, max-age=604800, immutable", "X-Content-Type-Options": "nosniff"}
PLOTS: dict[str, Callable[[Sequence, plots.Theme], str]] = {
    "efficiency": plots.efficiency,
    "drift": plots.drift,
    "proposals": plots.proposals,
}
router = APIRouter(prefix=PREFIX, include_in_schema=False)


def stamp(*shown: Sequence) -> str:
    """Return a short hash of what plots show."""
    return sha256(repr(shown).encode()).hexdigest()[:12]


@router.get("/plots/{kind}/{task}.svg")
def plot(app: App, user: Reviewer, kind: str, task: str, theme: str = "dark") -> Response:
    """Draw a plot of a task."""
    if kind not in PLOTS or theme not in plots.THEMES:
        raise Refused(404, "NO_SUCH_PLOT", "There is no such plot.", f"There is {', '.join(PLOTS)}.")
    with refusing(404, "NO_SUCH_TASK"):
        spec = app.spec.task(task)
    if kind == "proposals":
        shown: Sequence = history.weeks(labels.window(app.ledger), spec.name)
    else:
        shown = history.points(versions.task(app.app_dir, app.spec, spec.name))
    return Response(PLOTS[kind](shown, plots.THEMES[theme]), media_type="image/svg+xml", headers=FOREVER)


@router.get("/overlay.png")
def overlay_of(app: App, user: Reviewer, image: str, label: str, small: bool = False) -> FileResponse:
    """Show a label that the ledger knows on the image that it was drawn on.

    Args:
        app: The app.
        user: A reviewer.
        image: Name of the image.
        label: SHA-256 of the label.
        small: Whether a preview will do.
    """
    check_name(image, "image")
    row = labels.find(app.ledger, image, label)
    if row is None:
        raise Refused(404, "NO_SUCH_LABEL", f"'{image}' has no such label.", "See the list of labels.")
    files = _image_of(app, row), _kept(app, row)
    # Two studies may have the same label, byte by byte: an empty one, for one.
    spots = labels.spots(row)
    key = sha256(f"{image}\0{row.body.get('image')}\0{label}\0{spots}".encode()).hexdigest()
    title = ", ".join(filter(None, (image, str(row.body["tag"]), str(row.body.get("who") or ""))))
    picture = Picture(*files, key, app.spec.tasks[0].label_values, title, spots)
    return FileResponse(overlay(Path(app.app_dir), picture, small=small), media_type="image/png", headers=FOREVER)


def _image_of(app: TopoLabelApp, row: Row) -> Path:
    store, image = app.datastore(), row.subject
    uri = store.get_image_uri(image) if image in store.list_images() else ""
    if not uri:
        raise Refused(404, "NO_SUCH_IMAGE", f"There is no study '{image}' any more.", "See the list of labels.")
    path = Path(uri)
    if isinstance(store, Keeping) and store.labels.hash(path) != row.body.get("image"):
        raise Refused(409, "OTHER_IMAGE", f"'{image}' is not the image that was labelled.", "Label the new one.")
    return path


def _kept(app: TopoLabelApp, row: Row) -> Path:
    found = [path for name in row.body.get("files", {}) if (path := Path(app.app_dir) / name).is_file()]
    if not found:
        raise Refused(404, "GONE", "The label's file is gone.", "Run `python -m lib ledger verify`.")
    return found[0]
