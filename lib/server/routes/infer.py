"""Inference: checked first, then in its turn at the device, never in the way of who only asks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, File, Form, Request, UploadFile
from monailabel.datastore.local import LocalDatastore
from monailabel.endpoints import activelearning
from monailabel.endpoints.infer import ResultType, run_inference
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.data.formats import SUFFIXES
from lib.server.guard.names import check_name
from lib.server.guard.values import check_values, read_object
from lib.server.refusals import Refused
from lib.server.routes.request import (
    Reader,
    app_at_work,
    check_annotator,
    image_path,
    label_path,
    one_of,
    signed,
    uploaded,
)
from lib.server.turns import Turns
from lib.tasks.app import TopoLabelApp
from lib.tasks.click.infer import STORED, UPLOADED
from lib.tasks.serving.served_infer import QUEUED
from lib.tasks.strategies.leasing import ASKED_BY, nothing_left

# What a request's own address and session say, its params may not say again.
RESERVED = ("image", "model", "session", "description", UPLOADED, STORED, QUEUED)
IMAGES, CLICKS = Turns("images", at_once=1, waiting=32), Turns("clicks", at_once=48, waiting=64)
"""One image at a time takes the device; clicks do not wait for it, nor for another slice that is being embedded."""
FETCHES = Turns("fetches", at_once=8, waiting=64)
"""Before that, a study may have to come from its archive."""

ANSWERS = ("multipart/form-data", "application/octet-stream", "application/gzip", "application/dicom")
"""What it answers with beside JSON."""

router = APIRouter()


@router.post(
    "/infer/{model}",
    tags=["Infer"],
    summary="Segment a study, a session's image or an uploaded one",
    responses={200: {"content": {kind: {} for kind in ANSWERS}}},
)
async def infer(
    request: Request,
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
    app = app_at_work()
    one_of(model, app.infers, "model")
    if output == ResultType.dicom_seg and isinstance(app.datastore(), LocalDatastore):
        raise Refused(400, "NO_DICOM_STORE", "DICOM SEG needs a DICOMweb store.", "Ask for output=image.")

    def prepare(_: float) -> dict[str, Any]:
        options = _options(params, output)
        if options.get("save_label"):
            check_annotator(user)
        if file is None and session_id:
            _check_session(app, session_id)
        elif file is None:
            image_path(app, image)
            if app.is_blank(image) and not app.infers[model].needs_clicks:
                reason = f"'{image}' was drawn by lot to be labelled without a proposal: so time saved is measured."
                raise Refused(409, "BLANK_CASE", reason, "Draw it by hand or with clicks, and save it as any other.")
        return options | _stored(app, image, options.pop("mend", None))

    def work(waited: float) -> Any:
        with _file(file, image, SUFFIXES) as source, _file(label, "") as mask:
            told = options | ({UPLOADED: mask} if mask else {}) | {QUEUED: waited}
            session = "" if file else session_id
            return run_inference(background_tasks, model, source, session, json.dumps(told), None, None, output)  # type: ignore[arg-type]

    options = await FETCHES.run(prepare)
    lane = CLICKS if app.infers[model].needs_clicks else IMAGES
    return await lane.run(work, request.is_disconnected)


@router.post("/activelearning/{strategy}", tags=["ActiveLearning"], summary="The study to label next")
def next_study(request: Request, user: Reader, strategy: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the study that a strategy chooses and that nobody else has, or say why there is none.

    Whoever asks again skips what they had. Annotators are known by their sign-in, else by ``client_id``, else by where
    they ask from.
    """
    check_values(params)
    app = app_at_work()
    one_of(strategy, app.strategies, "strategy")
    asked = signed(params, user)
    asked[ASKED_BY] = asked.get(ASKED_BY) or (request.client.host if request.client else "")
    found = activelearning.sample(strategy, asked, user.username)
    return found or nothing_left(len(app.datastore().get_unlabeled_images()), app.leases)


def _options(params: str, output: ResultType | None) -> dict[str, Any]:
    options = {key: value for key, value in read_object(params).items() if key not in RESERVED}
    if output in (ResultType.image, ResultType.dicom_seg):
        options.pop("result_write_to_file", None)
    if options.get("save_label"):
        tag = str(options.get("label_tag") or DefaultLabelTag.ORIGINAL.value)
        check_name(tag, "label_tag")
        if tag == DefaultLabelTag.FINAL.value:
            remedy = "Look at it, then submit it with PUT /datastore/label."
            raise Refused(400, "NOT_BY_A_PERSON", "A final label is what a person submits.", remedy)
    return options


def _check_session(app: TopoLabelApp, session_id: str) -> None:
    check_name(session_id, "session_id")
    sessions = app.sessions()
    if sessions is None or not sessions.get_session(session_id):
        raise Refused(404, "NO_SUCH_SESSION", f"There is no session '{session_id}'.", "Upload the image again.")


@contextmanager
def _file(file: UploadFile | None, otherwise: str, suffixes: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the path of what came, else what there is without it."""
    if file is None:
        yield otherwise
        return
    with uploaded(file, "upload", suffixes) if suffixes else uploaded(file, "mask") as path:
        yield str(path)


def _stored(app: TopoLabelApp, image: str, tag: Any) -> dict[str, str]:
    return {STORED: label_path(app, image, str(tag))} if tag else {}
