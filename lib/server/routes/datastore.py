"""The routes of the datastore: images and labels are checked before they are stored, and only stored files are sent."""

import filecmp
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, File, Form, UploadFile
from fastapi.responses import FileResponse
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.utils.others.generic import file_checksum, get_mime_type

from lib.data.formats import stem
from lib.data.labels.coverage import COVERED, check_covered, parse_covered
from lib.data.labels.names import describe_values
from lib.records.labels import SUBMITTED
from lib.server.guard.names import check_name
from lib.server.guard.values import read_object
from lib.server.refusals import Refused
from lib.server.routes.quarantine import quarantine_failed
from lib.server.routes.request import (
    FILE_EXECUTOR,
    Annotator,
    Reader,
    image_file,
    image_path,
    label_path,
    served_app,
    stored_suffixes,
    uploaded,
    user_fields,
)
from lib.tasks.kinds import kind_of
from lib.tasks.store.proposals import SOURCE

SERVER_KEYS = ("strategy", "ts", "name", "path")
"""Keys that the server itself writes to the info of an image or a label."""
MAX_INFO_CHARACTERS = 64 << 10
CHECKSUMS = ("SHA256", "SHA512", "MD5")

router = APIRouter(tags=["Datastore"])


@router.put("/datastore/image", summary="Add a study")
@router.put("/datastore/", include_in_schema=False)
async def add_image(
    user: Annotator,
    file: Annotated[UploadFile, File()],
    image: str = "",
    params: Annotated[str, Form()] = "{}",
) -> dict[str, str]:
    """Store an image that passes the input checks; an existing image of the same name and its labels stay unchanged."""
    app = served_app()
    name = image or stem(Path(Path(file.filename or "").name))
    check_name(name, "image")

    def work(_: float) -> dict[str, str]:
        info = _read_info(params, "params") | user_fields(user)
        with uploaded(file, name, stored_suffixes(app)) as path:
            app.check_image(path)
            stored = app.datastore().get_image_uri(name) if name in app.datastore().list_images() else ""
            if stored and not filecmp.cmp(stored, path, shallow=False):
                raise Refused(
                    409, "NAME_TAKEN", f"The store has another image named '{name}'.", "Send it under another name."
                )
            if not stored:
                app.datastore().add_image(name, str(path), info)
        return {"image": name}

    return await FILE_EXECUTOR.run(work)


@router.put("/datastore/label", summary="Save a label")
async def save_label(
    user: Annotator,
    image: str,
    label: Annotated[UploadFile, File()],
    tag: str = DefaultLabelTag.FINAL.value,
    params: Annotated[str, Form()] = "{}",
) -> dict[str, Any]:
    """Store a label with its image's grid and the app's label values; the answer lists the findings.

    `params` may name the labels that were drawn: ``{"covered": ["larynx"]}``. Without it, the label covers all labels.
    """
    app = served_app()
    tag = tag or DefaultLabelTag.FINAL.value
    check_name(tag, "tag")

    def work(_: float) -> dict[str, Any]:
        uri, task = image_path(app, image), app.spec.tasks[0]
        kind = kind_of(task)
        with uploaded(label, image, stored_suffixes(app)) as path, quarantine_failed(app.app_dir, image, path):
            options = read_object(params)
            sent = options.get("label_info")
            covered = parse_covered(options.pop(COVERED, None), task.label_values)
            voxels = kind.check_submitted_label(path, uri, task, sent)
            check_covered(voxels, covered, task.label_values)
            if covered and len(covered) < len(task.labels):
                options[COVERED] = list(covered)
            if sent:  # The saved file has the values of the app, whatever the sent file had.
                options["label_info"] = describe_values(sent, task.label_values)
            findings = kind.inspect_label(voxels, uri, task, covered)
            client_findings = options.get("findings")
            options["findings"] = [*(client_findings if isinstance(client_findings, list) else []), *findings]
            facts = options | user_fields(user) | {SOURCE: SUBMITTED}
            saved = app.datastore().save_label(image, str(path), tag, facts)
        if tag == DefaultLabelTag.FINAL.value:
            app.release_lease(image)
        return {**(app.on_save_label(image, saved) or {}), "image": image, "label": saved, "findings": findings}

    return await FILE_EXECUTOR.run(work)


@router.get("/datastore/image", summary="Download a study", response_class=FileResponse)
def get_image(user: Reader, image: str) -> FileResponse:
    """Send the file of a study; a DICOM series is sent as NIfTI."""
    return _send(image_file(served_app(), image))


@router.head("/datastore/image", summary="Check whether a study exists")
def has_image(user: Reader, image: str, check_sum: str | None = None) -> dict[str, str]:
    """Answer 200 if the study exists and, if a checksum such as ``SHA256:...`` is given, its file has that checksum."""
    path = image_file(served_app(), image)
    method, _, digest = (check_sum or "").rpartition(":")
    method = method or CHECKSUMS[0]
    if method not in CHECKSUMS:
        raise Refused(400, "BAD_CHECKSUM", f"{method[:20]!r} is not supported.", f"Use one of {', '.join(CHECKSUMS)}.")
    if digest and file_checksum(path, algo=method) != f"{method}:{digest}":
        raise Refused(404, "OTHER_CONTENT", f"'{image}' has another checksum.", "Send the file again.")
    return {}


@router.get("/datastore/label", summary="Download a label", response_class=FileResponse)
def get_label(user: Reader, label: str, tag: str) -> FileResponse:
    """Send the file of a label."""
    return _send(label_path(served_app(), label, tag))


@router.head("/datastore/label", summary="Check whether a label exists")
def has_label(user: Reader, image: str, tag: str) -> dict[str, str]:
    """Answer 200 if the label exists."""
    label_path(served_app(), image, tag)
    return {}


@router.put("/datastore/image/info", summary="Add info to a study")
def put_image_info(user: Annotator, image: str, info: Annotated[str, Form()] = "{}") -> None:
    """Store additional info of a study."""
    app = served_app()
    image_path(app, image)
    app.datastore().update_image_info(image, _read_info(info, "info") | user_fields(user))


@router.put("/datastore/label/info", summary="Add info to a label")
def put_label_info(user: Annotator, label: str, tag: str, info: Annotated[str, Form()] = "{}") -> None:
    """Store additional info of a label."""
    app = served_app()
    label_path(app, label, tag)
    app.datastore().update_label_info(label, tag, _read_info(info, "info") | user_fields(user))


@router.put("/datastore/updatelabelinfo", include_in_schema=False)
def update_label_info(user: Annotator, label: str, tag: str, params: Annotated[str, Form()] = "{}") -> None:
    """Store additional info of a label, under the old address of this route."""
    put_label_info(user, label, tag, params)


@router.get("/datastore/dataset", summary="Download all labelled studies as a ZIP archive", response_class=FileResponse)
async def get_dataset(user: Annotator, background_tasks: BackgroundTasks, limit_cases: int = 0) -> FileResponse:
    """Send the studies that have a final label, with their labels."""
    store = served_app().datastore()

    def work(_: float) -> str:
        if not isinstance(store, LocalDatastore) or not store.datalist():
            raise Refused(404, "NOTHING_LABELLED", "No study of this store has a final label.", "Submit a label first.")
        return store.get_dataset_archive(limit_cases)

    archive = await FILE_EXECUTOR.run(work)
    background_tasks.add_task(os.unlink, archive)
    return FileResponse(archive, media_type="application/zip", filename="dataset.zip")


def _read_info(text: str, what: str) -> dict[str, Any]:
    info = read_object(text, what)
    if reserved := [key for key in SERVER_KEYS if key in info]:
        reason = f"Only the server may write {', '.join(reserved)}."
        raise Refused(400, "NOT_YOURS", reason, "Use another key.")
    if len(text) > MAX_INFO_CHARACTERS:
        reason = f"{what} has more than {MAX_INFO_CHARACTERS} characters."
        raise Refused(413, "TOO_LARGE", reason, "Send less info.")
    return info


def _send(path: str) -> FileResponse:
    if not Path(path).is_file():
        reason = "The store has this image as a folder of DICOM files, not as one file."
        raise Refused(404, "NO_SUCH_FILE", reason, "Download it from the archive.")
    return FileResponse(path, media_type=get_mime_type(path), filename=Path(path).name)
