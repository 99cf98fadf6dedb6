"""The routes of inference and active learning: inference runs in bounded executors, so other requests stay fast."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, File, Form, Request, UploadFile
from monailabel.datastore.local import LocalDatastore
from monailabel.endpoints import activelearning
from monailabel.endpoints.infer import ResultType, run_inference
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.data.findings import InputRejected
from lib.data.formats import SUFFIXES
from lib.server.bounded_executor import BoundedExecutor
from lib.server.guard.names import check_name
from lib.server.guard.values import check_values, read_object
from lib.server.refusals import Refused
from lib.server.routes.request import (
    Reader,
    check_annotator,
    check_known,
    image_file,
    image_path,
    label_path,
    served_app,
    stored_suffixes,
    uploaded,
    with_client_id,
)
from lib.tasks.app import TopoLabelApp
from lib.tasks.click.infer import STORED, UPLOADED
from lib.tasks.serving.served_infer import QUEUED
from lib.tasks.strategies.leasing import ANNOTATOR_KEY, no_study_answer

# Keys that are set from the request's address and session; params must not override them.
RESERVED = ("image", "model", "session", "description", UPLOADED, STORED, QUEUED)
IMAGE_EXECUTOR = BoundedExecutor("images", at_once=1, waiting=32)
"""Whole images: only one at a time uses the device."""
CLICK_EXECUTOR = BoundedExecutor("clicks", at_once=48, waiting=64)
"""Clicks: they wait neither for a whole image nor for the embedding of another slice."""
FETCH_EXECUTOR = BoundedExecutor("fetches", at_once=8, waiting=64)
"""Preparation of a request: a study may have to be fetched from its archive."""

CONTENT_TYPES = ("multipart/form-data", "application/octet-stream", "application/gzip", "application/dicom")
"""Content types of the answers besides JSON."""

router = APIRouter()


@router.post(
    "/infer/{model}",
    tags=["Infer"],
    summary="Segment a study, the image of a session or an uploaded image",
    responses={200: {"content": {kind: {} for kind in CONTENT_TYPES}}},
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
    """Run a model and answer as MONAI Label does: ``output`` is image, json or dicom_seg, else a multipart answer.

    Clicks correct the mask that is sent as ``label``, or the stored label whose tag is given as ``mend`` in params.
    """
    app = served_app()
    check_known(model, app.infers, "model")
    if output == ResultType.dicom_seg and isinstance(app.datastore(), LocalDatastore):
        raise Refused(400, "NO_DICOM_STORE", "DICOM SEG needs a DICOMweb store.", "Use output=image.")

    def prepare(_: float) -> dict[str, Any]:
        options = _options(params, output)
        if options.get("save_label"):
            check_annotator(user)
        if file is None and session_id:
            _check_session(app, session_id)
        elif file is None:
            image_path(app, image)
            if app.is_blank(image) and not app.infers[model].needs_clicks:
                reason = (
                    f"'{image}' was selected at random to be labelled without a proposal, to measure the time saved."
                )
                remedy = "Segment it by hand or with clicks, and save the label as usual."
                raise Refused(409, "BLANK_CASE", reason, remedy)
        return options | _stored_label(app, image, options.pop("mend", None))

    def work(waited: float) -> Any:
        with _upload_or(file, image, SUFFIXES) as source, _upload_or(label, "", stored_suffixes(app)) as mask:
            sent = json.dumps(options | ({UPLOADED: mask} if mask else {}) | {QUEUED: waited})
            session = "" if file else session_id
            return run_inference(background_tasks, model, source, session, sent, None, None, output)  # type: ignore[arg-type]

    options = await FETCH_EXECUTOR.run(prepare)
    executor = CLICK_EXECUTOR if app.infers[model].needs_clicks else IMAGE_EXECUTOR
    return await executor.run(work, request.is_disconnected)


@router.post("/activelearning/{strategy}", tags=["ActiveLearning"], summary="Return the study to label next")
def next_study(request: Request, user: Reader, strategy: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the study that a strategy selects and no other annotator has leased, or the reason why there is none.

    An annotator who asks again skips the study leased before. Annotators are identified by their sign-in, else by
    ``client_id``, else by the client's network address.
    """
    check_values(params)
    app = served_app()
    check_known(strategy, app.strategies, "strategy")
    options = with_client_id(params, user)
    options[ANNOTATOR_KEY] = options.get(ANNOTATOR_KEY) or (request.client.host if request.client else "")
    study = activelearning.sample(strategy, options, user.username)
    if study and not study.get("path"):
        # A client names its copy after this name, whose suffix must be that of the file.
        with suppress(InputRejected):  # the download of this study gives the reason
            study["name"] = Path(image_file(app, study["id"])).name
    return study or no_study_answer(len(app.datastore().get_unlabeled_images()), app.leases)


def _options(params: str, output: ResultType | None) -> dict[str, Any]:
    options = {key: value for key, value in read_object(params).items() if key not in RESERVED}
    if output in (ResultType.image, ResultType.dicom_seg):
        options.pop("result_write_to_file", None)
    if options.get("save_label"):
        tag = str(options.get("label_tag") or DefaultLabelTag.ORIGINAL.value)
        check_name(tag, "label_tag")
        if tag == DefaultLabelTag.FINAL.value:
            remedy = "Check the proposal in a viewer, then submit it with PUT /datastore/label."
            raise Refused(400, "NOT_BY_A_PERSON", "Only an annotator may save a final label.", remedy)
    return options


def _check_session(app: TopoLabelApp, session_id: str) -> None:
    check_name(session_id, "session_id")
    sessions = app.sessions()
    if sessions is None or not sessions.get_session(session_id):
        raise Refused(404, "NO_SUCH_SESSION", f"There is no session '{session_id}'.", "Upload the image again.")


@contextmanager
def _upload_or(file: UploadFile | None, default: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield the path of an uploaded file, or `default` if there is no upload."""
    if file is None:
        yield default
        return
    with uploaded(file, "upload", suffixes) as path:
        yield str(path)


def _stored_label(app: TopoLabelApp, image: str, tag: Any) -> dict[str, str]:
    return {STORED: label_path(app, image, str(tag))} if tag else {}
