"""Helpers of several routes: the served app, the user's role, paths in the store, and uploaded files."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Depends, UploadFile
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance

from lib.data.formats import SUFFIXES
from lib.server.auth.access_denied import AccessDenied
from lib.server.auth.attach import configured_access
from lib.server.bounded_executor import BoundedExecutor
from lib.server.guard.names import check_name
from lib.server.refusals import Refused
from lib.tasks.app import TopoLabelApp
from lib.tasks.store.folder import FolderStore

FILE_EXECUTOR = BoundedExecutor("files", at_once=2, waiting=64)
"""Threads of requests that read uploads: several large uploads at once would fill the memory."""

Reader = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
Annotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]
Admin = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]


def served_app() -> TopoLabelApp:
    """Return the app that this server serves."""
    app = app_instance()
    # Compared by name: MONAI Label's loader may have loaded the class a second time.
    assert type(app).__name__ == TopoLabelApp.__name__, "this server serves TopoLabel apps only"
    return cast(TopoLabelApp, app)


def check_known(name: str, known: Iterable[str], what: str) -> None:
    """Refuse a name that does not exist.

    Args:
        name: Name from the client.
        known: Names that exist.
        what: Kind of the name, such as "model"; part of the error code.
    Raises:
        Refused: NO_SUCH_MODEL, NO_SUCH_STRATEGY and so on.
    """
    if name not in known:
        reason = f"There is no {what} {name[:80]!r}."
        raise Refused(404, f"NO_SUCH_{what.upper()}", reason, f"Use one of {', '.join(known)}.")


def image_path(app: TopoLabelApp, image: str) -> str:
    """Return the path of a study in the store.

    Raises:
        Refused: NO_SUCH_IMAGE.
    """
    # MONAI Label takes an unknown name for a path on this machine.
    check_name(image, "image")
    uri = app.datastore().get_image_uri(image)
    if not uri or not Path(uri).exists():
        remedy = "List the studies with GET /datastore/?output=all, or send the image as `file`."
        raise Refused(404, "NO_SUCH_IMAGE", f"There is no study '{image}'.", remedy)
    return uri


def image_file(app: TopoLabelApp, image: str) -> str:
    """Return the path of a study in the store as one file: a DICOM series is converted to NIfTI.

    Raises:
        Refused: NO_SUCH_IMAGE.
        InputRejected: If a series cannot be converted.
    """
    path, store = image_path(app, image), app.datastore()
    return store.file_to_download(image) if isinstance(store, FolderStore) else path


def label_path(app: TopoLabelApp, image: str, tag: str) -> str:
    """Return the path of a label in the store.

    Raises:
        Refused: NO_SUCH_LABEL.
    """
    check_name(image, "label")
    check_name(tag, "tag")
    store = app.datastore()
    label = store.get_label_by_image_id(image, tag)
    uri = store.get_label_uri(label, tag) if label else ""
    if not uri or not Path(uri).is_file():
        reason = f"'{image}' has no label '{tag}'."
        raise Refused(404, "NO_SUCH_LABEL", reason, "List the labels with GET /datastore/?output=all.")
    return uri


def user_fields(user: User) -> dict[str, Any]:
    """Return the field with the user's name for stored info; empty for a user without a name."""
    return {"user": user.username} if user.username else {}


def with_client_id(params: dict[str, Any] | None, user: User) -> dict[str, Any]:
    """Return `params` with the signed-in user as ``client_id``; unchanged on a server without sign-in."""
    return {**(params or {}), **({"client_id": user.username} if configured_access().requires_sign_in else {})}


def check_annotator(user: User) -> None:
    """Refuse a user who asks inference to store its result as a label, and lacks the role annotator.

    Raises:
        AccessDenied: ROLE_NEEDED.
    """
    if settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR not in user.roles:
        reason = "Saving a label needs the role annotator."
        raise AccessDenied(403, "ROLE_NEEDED", reason, "Ask an admin for that role.", needed="annotator")


def stored_suffixes(app: TopoLabelApp) -> tuple[str, ...]:
    """Return the suffixes of the image and label files that the app's store accepts."""
    return tuple(pattern.lstrip("*") for pattern in app.image_patterns)


@contextmanager
def uploaded(file: UploadFile, name: str, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the path of an uploaded file in a temporary folder, and remove it afterwards.

    Args:
        file: The upload; only the suffix of its file name is used.
        name: Name of the temporary file, without suffix.
        suffixes: Accepted suffixes.
    Raises:
        Refused: NOT_AN_IMAGE.
    """
    filename = (file.filename or "").lower()
    suffix = next((option for option in suffixes if filename.endswith(option)), "")
    if not suffix:
        known = next((option for option in SUFFIXES if filename.endswith(option)), "no known suffix")
        reason = f"The file '{Path(filename).name[-80:]}' has {known}, which this route does not accept."
        raise Refused(415, "NOT_AN_IMAGE", reason, f"Send one of {', '.join(suffixes)}.")
    with tempfile.TemporaryDirectory(prefix="topolabel-") as folder:
        path = Path(folder) / f"{name}{suffix}"
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
        yield path
