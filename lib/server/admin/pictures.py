"""The routes of pictures on the admin pages: plots as SVG, labels over their images as PNG."""

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
from lib.tasks.store.folder import RecordingStore

# The address of a plot contains a hash of its data, that of an overlay the label's hash: the content never changes.
CACHE_HEADERS = {"Cache-Control": "private, max-age=604800, immutable", "X-Content-Type-Options": "nosniff"}
PLOTS: dict[str, Callable[[Sequence, plots.Theme], str]] = {
    "efficiency": plots.efficiency,
    "drift": plots.drift,
    "proposals": plots.proposals,
}
router = APIRouter(prefix=PREFIX, include_in_schema=False)


def stamp(*shown: Sequence) -> str:
    """Return a short hash of the data of plots."""
    return sha256(repr(shown).encode()).hexdigest()[:12]


@router.get("/plots/{kind}/{task}.svg")
def plot(app: App, user: Reviewer, kind: str, task: str, theme: str = "dark") -> Response:
    """Draw a plot of a task."""
    if kind not in PLOTS or theme not in plots.THEMES:
        raise Refused(404, "NO_SUCH_PLOT", "There is no such plot.", f"Use one of {', '.join(PLOTS)}.")
    with refusing(404, "NO_SUCH_TASK"):
        spec = app.spec.task(task)
    if kind == "proposals":
        shown: Sequence = history.weeks(labels.window(app.ledger), spec.name)
    else:
        shown = history.points(versions.task(app.app_dir, app.spec, spec.name))
    return Response(PLOTS[kind](shown, plots.THEMES[theme]), media_type="image/svg+xml", headers=CACHE_HEADERS)


@router.get("/overlay.png")
def overlay_of(app: App, user: Reviewer, image: str, label: str, small: bool = False) -> FileResponse:
    """Show a label that is recorded in the ledger over its image.

    Args:
        app: The served app.
        user: A reviewer.
        image: Name of the image.
        label: SHA-256 of the label.
        small: Whether to return the small preview.
    """
    check_name(image, "image")
    row = labels.find(app.ledger, image, label)
    if row is None:
        raise Refused(404, "NO_SUCH_LABEL", f"The study '{image}' has no such label.", "See the Labels page.")
    files = _image_path(app, row), _label_path(app, row)
    # The key includes the image: two studies may have the same label, for example an empty one.
    spots = labels.spots(row)
    task = app.spec.tasks[0]
    key = sha256(f"{image}\0{row.body.get('image')}\0{label}\0{spots}".encode()).hexdigest()
    title = ", ".join(filter(None, (image, str(row.body["tag"]), str(row.body.get("who") or ""))))
    picture = Picture(*files, key, task.label_values, title, spots, task.image.modality)
    return FileResponse(overlay(Path(app.app_dir), picture, small=small), media_type="image/png", headers=CACHE_HEADERS)


def _image_path(app: TopoLabelApp, row: Row) -> Path:
    store, image = app.datastore(), row.subject
    uri = store.get_image_uri(image) if image in store.list_images() else ""
    if not uri:
        raise Refused(404, "NO_SUCH_IMAGE", f"The study '{image}' no longer exists.", "See the Labels page.")
    path = Path(uri)
    if isinstance(store, RecordingStore) and store.labels.hash(path) != row.body.get("image"):
        reason = f"The image '{image}' has changed since it was labelled."
        raise Refused(409, "OTHER_IMAGE", reason, "Label the new image.")
    return path


def _label_path(app: TopoLabelApp, row: Row) -> Path:
    found = [path for name in row.body.get("files", {}) if (path := Path(app.app_dir) / name).is_file()]
    if not found:
        reason = "The file of this label version is missing."
        raise Refused(404, "GONE", reason, "Run `python -m lib ledger verify` on the server.")
    return found[0]
