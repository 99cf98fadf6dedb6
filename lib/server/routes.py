"""The routes that replace MONAI Label's own: checked before anything is stored, and never in the way of /info/."""

import filecmp
import json
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, BackgroundTasks, Depends, File, Form, UploadFile
from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore
from monailabel.endpoints import activelearning
from monailabel.endpoints.infer import ResultType, run_inference
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance

from lib.data.formats import SUFFIXES, stem
from lib.data.validate import check
from lib.server.guard import check_name
from lib.server.refusals import Refused
from lib.tasks.app import IMAGE_PATTERNS, TopoLabelApp
from lib.tasks.click.infer import STORED, UPLOADED
from lib.tasks.infer import ServedInfer
from lib.tasks.strategy import NOTHING_LEFT
from lib.tasks.submission import accept_label

# What a request's own address and session say, its params may not say again.
RESERVED = ("image", "model", "session", "description", UPLOADED, STORED)
STORED_SUFFIXES = tuple(pattern.lstrip("*") for pattern in IMAGE_PATTERNS)

# Plain functions, not coroutines: the framework runs them in threads. One image at a time takes the device; clicks do
# not wait for it.
router = APIRouter()
_device = threading.BoundedSemaphore(1)

Reader = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
Annotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]


@router.post("/infer/{model}", tags=["Infer"], summary="Segment a study, a session's image or an uploaded one")
def infer(
    background_tasks: BackgroundTasks,
    user: Reader,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
    output: ResultType | None = None,
) -> Any:
    """Answer as MONAI Label does: ``output`` is image, json, dicom_seg, or both parts of a multipart answer.

    Clicks mend a mask that comes with them as ``label``, or the stored label whose tag the params name as ``mend``.
    """
    app = _app()
    _one_of(model, app.infers, "model")
    options = {key: value for key, value in _options(params).items() if key not in RESERVED}
    if file is None and session_id:
        sessions = app.sessions()
        if sessions is None or not sessions.get_session(session_id):
            raise Refused(404, "NO_SUCH_SESSION", f"There is no session '{session_id}'.", "Upload the image again.")
    elif file is None:
        _known(app, image)
    if output == ResultType.dicom_seg and isinstance(app.datastore(), LocalDatastore):
        raise Refused(400, "NO_DICOM_STORE", "DICOM SEG needs a DICOMweb store.", "Ask for output=image.")
    with _turn(app.infers[model]), _mask(label) as uploaded:
        options |= uploaded | _stored(app, image, options.pop("mend", None))
        return run_inference(background_tasks, model, image, session_id, json.dumps(options), file, None, output)  # type: ignore[arg-type]


@router.put("/datastore/image", tags=["Datastore"], summary="Add a study")
@router.put("/datastore/", include_in_schema=False)
def add_image(
    user: Annotator,
    file: Annotated[UploadFile, File()],
    image: str = "",
    params: Annotated[str, Form()] = "{}",
) -> dict[str, str]:
    """Store an image that the gate lets pass; a name that is taken keeps its image and labels."""
    app = _app()
    name = image or stem(Path(Path(file.filename or "").name))
    check_name(name, "image")
    with _upload(file, name) as path:
        check(path)
        stored = app.datastore().get_image_uri(name) if name in app.datastore().list_images() else ""
        if stored and not filecmp.cmp(stored, path, shallow=False):
            raise Refused(409, "NAME_TAKEN", f"'{name}' is another image of the store.", "Choose another name.")
        if not stored:
            app.datastore().add_image(name, str(path), _options(params) | _who(user))
    return {"image": name}


@router.put("/datastore/label", tags=["Datastore"], summary="Save a label")
def save_label(
    user: Annotator,
    image: str,
    label: Annotated[UploadFile, File()],
    tag: str = DefaultLabelTag.FINAL.value,
    params: Annotated[str, Form()] = "{}",
) -> dict[str, Any]:
    """Store a label that lies on its image's grid and in the app's values."""
    app = _app()
    options = _options(params)
    uri = _known(app, image)
    with _upload(label, image) as path:
        label_info = options.get("label_info")
        accept_label(path, uri, app.spec.tasks[0], label_info if isinstance(label_info, list) else [])
        saved = app.datastore().save_label(image, str(path), tag or DefaultLabelTag.FINAL.value, options | _who(user))
    return {**(app.on_save_label(image, saved) or {}), "image": image, "label": saved}


@router.post("/activelearning/{strategy}", tags=["ActiveLearning"], summary="The study to label next")
def next_study(user: Reader, strategy: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the study that a strategy chooses, or say that nothing is left."""
    _one_of(strategy, _app().info()["strategies"], "strategy")
    return activelearning.sample(strategy, params, user.username) or NOTHING_LEFT


def _turn(task: ServedInfer) -> AbstractContextManager[Any]:
    return nullcontext() if task.needs_clicks else _device


@contextmanager
def _mask(label: UploadFile | None) -> Iterator[dict[str, str]]:
    if label is None:
        yield {}
        return
    with _upload(label, "mask") as path:
        yield {UPLOADED: str(path)}


def _stored(app: TopoLabelApp, image: str, tag: Any) -> dict[str, str]:
    if not tag:
        return {}
    check_name(str(tag), "mend")
    store = app.datastore()
    found = store.get_label_by_image_id(image, str(tag)) if image else ""
    if not found:
        remedy = "List the labels with GET /datastore/?output=all, or send the mask as `label`."
        raise Refused(404, "NO_SUCH_LABEL", f"'{image}' has no label '{tag}'.", remedy)
    return {STORED: store.get_label_uri(found, str(tag))}


def _app() -> TopoLabelApp:
    app = app_instance()
    # By name: MONAI Label's loader may have read the class anew.
    assert type(app).__name__ == TopoLabelApp.__name__, "the guard stands before TopoLabel's apps only"
    return cast(TopoLabelApp, app)


def _one_of(name: str, known: Iterable[str], what: str) -> None:
    if name not in known:
        raise Refused(404, f"NO_SUCH_{what.upper()}", f"There is no {what} '{name}'.", f"There is {', '.join(known)}.")


def _options(params: str) -> dict[str, Any]:
    try:
        options = json.loads(params or "{}")
    except json.JSONDecodeError as error:
        raise Refused(400, "BAD_PARAMS", f"params is not JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(options, dict):
        raise Refused(400, "BAD_PARAMS", "params is not an object.", "Send a JSON object.")
    return options


def _who(user: User) -> dict[str, str]:
    return {"user": user.username} if user.username else {}


def _known(app: TopoLabelApp, image: str) -> str:
    """Return the path of a study of the store."""
    # A name that MONAI Label does not know it takes for a path of this machine.
    check_name(image, "image")
    uri = app.datastore().get_image_uri(image)
    if not uri:
        remedy = "List the studies with GET /datastore/?output=all, or send the image as `file`."
        raise Refused(404, "NO_SUCH_IMAGE", f"There is no study '{image}'.", remedy)
    return uri


@contextmanager
def _upload(file: UploadFile, name: str) -> Iterator[Path]:
    """Yield an upload as a file that is named for the store, and remove it."""
    sent = Path(file.filename or "").name.lower()
    suffix = next((s for s in STORED_SUFFIXES if sent.endswith(s)), "")
    if not suffix:
        known = next((s for s in SUFFIXES if sent.endswith(s)), "no known suffix")
        remedy = f"Send one of {', '.join(STORED_SUFFIXES)}."
        raise Refused(415, "NOT_AN_IMAGE", f"'{sent}' has {known}, which the store does not keep.", remedy)
    with tempfile.TemporaryDirectory(prefix="topolabel-") as folder:
        path = Path(folder) / f"{name}{suffix}"
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
        yield path
