"""The store: whatever is put into it was checked, and whatever is got from it lies in it."""

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
from lib.server.guard.names import check_name
from lib.server.guard.values import read_object
from lib.server.refusals import Refused
from lib.server.routes.aside import kept_aside
from lib.server.routes.request import (
    FILES,
    Annotator,
    Reader,
    app_at_work,
    image_path,
    label_path,
    stored_suffixes,
    uploaded,
    who,
)
from lib.tasks.kinds import kind_of

OWNED = ("strategy", "ts", "name", "path")
"""What the server itself keeps with an image or a label."""
MAX_INFO_BYTES = 64 << 10
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
    """Store an image that the gate lets pass; a name that is taken keeps its image and labels."""
    app = app_at_work()
    name = image or stem(Path(Path(file.filename or "").name))
    check_name(name, "image")

    def work(_: float) -> dict[str, str]:
        facts = _info(params, "params") | who(user)
        with uploaded(file, name, stored_suffixes(app)) as path:
            app.kind.check_image(path)
            stored = app.datastore().get_image_uri(name) if name in app.datastore().list_images() else ""
            if stored and not filecmp.cmp(stored, path, shallow=False):
                raise Refused(409, "NAME_TAKEN", f"'{name}' is another image of the store.", "Choose another name.")
            if not stored:
                app.datastore().add_image(name, str(path), facts)
        return {"image": name}

    return await FILES.run(work)


@router.put("/datastore/label", summary="Save a label")
async def save_label(
    user: Annotator,
    image: str,
    label: Annotated[UploadFile, File()],
    tag: str = DefaultLabelTag.FINAL.value,
    params: Annotated[str, Form()] = "{}",
) -> dict[str, Any]:
    """Store a label that lies on its image's grid and in the app's values; what to look at in it is in the answer."""
    app = app_at_work()
    tag = tag or DefaultLabelTag.FINAL.value
    check_name(tag, "tag")

    def work(_: float) -> dict[str, Any]:
        options = read_object(params)
        uri = image_path(app, image)
        with uploaded(label, image, stored_suffixes(app)) as path:
            sent, task = options.get("label_info"), app.spec.tasks[0]
            kind = kind_of(task)
            with kept_aside(app.app_dir, image, path):
                voxels = kind.accept_label(path, uri, task, sent if isinstance(sent, list) else [])
                findings = kind.inspect_label(voxels, uri, task)
                told = options.get("findings")
                options["findings"] = [*(told if isinstance(told, list) else []), *findings]
                saved = app.datastore().save_label(image, str(path), tag, options | who(user))
        if tag == DefaultLabelTag.FINAL.value:
            app.finished(image)
        return {**(app.on_save_label(image, saved) or {}), "image": image, "label": saved, "findings": findings}

    return await FILES.run(work)


@router.get("/datastore/image", summary="Download a study", response_class=FileResponse)
def get_image(user: Reader, image: str) -> FileResponse:
    """Send the file of a study."""
    return _send(image_path(app_at_work(), image))


@router.head("/datastore/image", summary="Check whether a study is there")
def has_image(user: Reader, image: str, check_sum: str | None = None) -> dict[str, str]:
    """Say that a study is there, and that its file has a checksum, ``SHA256:...`` or the like."""
    path = image_path(app_at_work(), image)
    method, _, digest = (check_sum or "").rpartition(":")
    method = method or CHECKSUMS[0]
    if method not in CHECKSUMS:
        raise Refused(400, "BAD_CHECKSUM", f"{method[:20]!r} is not computed.", f"Use one of {', '.join(CHECKSUMS)}.")
    if digest and file_checksum(path, algo=method) != f"{method}:{digest}":
        raise Refused(404, "OTHER_CONTENT", f"'{image}' has another checksum.", "Send the file again.")
    return {}


@router.get("/datastore/label", summary="Download a label", response_class=FileResponse)
def get_label(user: Reader, label: str, tag: str) -> FileResponse:
    """Send the file of a label."""
    return _send(label_path(app_at_work(), label, tag))


@router.head("/datastore/label", summary="Check whether a label is there")
def has_label(user: Reader, image: str, tag: str) -> dict[str, str]:
    """Say that a label is there."""
    label_path(app_at_work(), image, tag)
    return {}


@router.put("/datastore/image/info", summary="Add to what is known of a study")
def put_image_info(user: Annotator, image: str, info: Annotated[str, Form()] = "{}") -> None:
    """Keep facts with a study."""
    app = app_at_work()
    image_path(app, image)
    app.datastore().update_image_info(image, _info(info, "info") | who(user))


@router.put("/datastore/label/info", summary="Add to what is known of a label")
def put_label_info(user: Annotator, label: str, tag: str, info: Annotated[str, Form()] = "{}") -> None:
    """Keep facts with a label."""
    app = app_at_work()
    label_path(app, label, tag)
    app.datastore().update_label_info(label, tag, _info(info, "info") | who(user))


@router.put("/datastore/updatelabelinfo", include_in_schema=False)
def update_label_info(user: Annotator, label: str, tag: str, params: Annotated[str, Form()] = "{}") -> None:
    """Do the same at the address that it had before."""
    put_label_info(user, label, tag, params)


@router.get("/datastore/dataset", summary="Download all labelled studies as a ZIP archive", response_class=FileResponse)
async def get_dataset(user: Annotator, background_tasks: BackgroundTasks, limit_cases: int = 0) -> FileResponse:
    """Send the studies that have a final label, with their labels."""
    store = app_at_work().datastore()

    def work(_: float) -> str:
        if not isinstance(store, LocalDatastore) or not store.datalist():
            raise Refused(404, "NOTHING_LABELLED", "No study has a final label here.", "Submit a label first.")
        return store.get_dataset_archive(limit_cases)

    archive = await FILES.run(work)
    background_tasks.add_task(os.unlink, archive)
    return FileResponse(archive, media_type="application/zip", filename="dataset.zip")


def _info(text: str, what: str) -> dict[str, Any]:
    info = read_object(text, what)
    if taken := [key for key in OWNED if key in info]:
        raise Refused(400, "NOT_YOURS", f"{', '.join(taken)} is kept by the server.", "Choose another key.")
    if len(text) > MAX_INFO_BYTES:
        raise Refused(413, "TOO_LARGE", f"{what} may have {MAX_INFO_BYTES} characters.", "Keep less with it.")
    return info


def _send(path: str) -> FileResponse:
    if not Path(path).is_file():
        raise Refused(404, "NO_SUCH_FILE", "The store holds a folder and no file of it.", "Fetch it from the archive.")
    return FileResponse(path, media_type=get_mime_type(path), filename=Path(path).name)
