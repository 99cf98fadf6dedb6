"""The routes of image sessions: images that a user works on without adding them to the store."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, UploadFile
from fastapi.responses import FileResponse
from monailabel.utils.others.generic import get_mime_type
from monailabel.utils.sessions import SessionInfo, Sessions

from lib.data.formats import SUFFIXES
from lib.server.guard.names import check_name
from lib.server.refusals import Refused
from lib.server.routes.request import FILE_EXECUTOR, Reader, served_app, uploaded

MAX_EXPIRY_SECONDS = 7 * 86400

router = APIRouter(tags=["Session"])


@router.put("/session/", summary="Open a session with an image")
async def create_session(
    user: Reader, files: Annotated[list[UploadFile], File()], uncompress: bool = False, expiry: int = 0
) -> dict[str, Any]:
    """Keep an image for a limited time; several files are taken as the slices of one DICOM series."""
    sessions = _sessions()
    if uncompress:
        raise Refused(400, "NO_ARCHIVES", "The server does not unpack archives.", "Send the image file itself.")
    seconds = min(max(expiry, 0), MAX_EXPIRY_SECONDS)

    def work(_: float) -> dict[str, Any]:
        if len(files) > 1:
            return _open_series(sessions, files, seconds)
        with uploaded(files[0], "image", SUFFIXES) as path:
            served_app().check_image(path)
            return _open(sessions, path, seconds)

    return await FILE_EXECUTOR.run(work)


@router.get("/session/{session_id}", summary="Return a session or its image")
def get_session(user: Reader, session_id: str, update_ts: bool = False, image: bool = False) -> Any:
    """Return a session in MONAI Label's format, or the file of its image."""
    session = _find(session_id, update_ts)
    if not image:
        return session.to_json()
    if not Path(session.image).is_file():
        reason = "The session holds a DICOM series, not one file."
        raise Refused(404, "NO_SUCH_FILE", reason, "Use the slices that you uploaded.")
    return FileResponse(session.image, media_type=get_mime_type(session.image), filename=Path(session.image).name)


@router.delete("/session/{session_id}", summary="Close a session")
def remove_session(user: Reader, session_id: str) -> dict[str, Any]:
    """Remove a session and its image."""
    session = _find(session_id)
    _sessions().remove_session(session_id)
    return session.to_json()


def _sessions() -> Sessions:
    sessions = served_app().sessions()
    if sessions is None:
        raise Refused(404, "NOT_OFFERED", "This server has no sessions.", "Add the image to the store.")
    return sessions


def _find(session_id: str, update: bool = True) -> SessionInfo:
    check_name(session_id, "session_id")
    session = _sessions().get_session(session_id, update_ts=update)
    if not session:
        raise Refused(404, "NO_SUCH_SESSION", f"There is no session '{session_id}'.", "Upload the image again.")
    return session


def _open_series(sessions: Sessions, files: list[UploadFile], seconds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="topolabel-") as parent:
        folder = Path(parent) / "series"
        folder.mkdir()
        for number, file in enumerate(files):
            with uploaded(file, f"{number:05d}", (".dcm",)) as path:
                path.rename(folder / path.name)
        served_app().check_image(folder)
        return _open(sessions, folder, seconds)


def _open(sessions: Sessions, image: Path, seconds: int) -> dict[str, Any]:
    session_id, session = sessions.add_session(str(image), seconds)
    return {"session_id": session_id, "session_info": session.to_json()}
