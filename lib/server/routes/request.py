"""What several routes ask of a request: who sent it, what app it is for, and what it brought."""

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
from lib.server.auth.attach import chosen
from lib.server.auth.denied import Denied
from lib.server.guard.names import check_name
from lib.server.refusals import Refused
from lib.server.turns import Turns
from lib.tasks.app import TopoLabelApp
from lib.tasks.segmentation.kind import VOLUME_PATTERNS

VOLUMES = tuple(pattern.lstrip("*") for pattern in VOLUME_PATTERNS)
FILES = Turns("files", at_once=2, waiting=64)
"""Turns of whatever reads uploads: several large ones at once would fill the memory."""

Reader = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
Annotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]
Admin = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]


def app_at_work() -> TopoLabelApp:
    """Return the app that is served."""
    app = app_instance()
    # By name: MONAI Label's loader may have read the class anew.
    assert type(app).__name__ == TopoLabelApp.__name__, "the guard stands before TopoLabel's apps only"
    return cast(TopoLabelApp, app)


def one_of(name: str, known: Iterable[str], what: str) -> None:
    """Refuse a name that names nothing.

    Raises:
        Refused: NO_SUCH_MODEL or the like.
    """
    if name not in known:
        reason = f"There is no {what} {name[:80]!r}."
        raise Refused(404, f"NO_SUCH_{what.upper()}", reason, f"There is {', '.join(known)}.")


def image_path(app: TopoLabelApp, image: str) -> str:
    """Return the path of a study of the store.

    Raises:
        Refused: NO_SUCH_IMAGE.
    """
    # A name that MONAI Label does not know it takes for a path of this machine.
    check_name(image, "image")
    uri = app.datastore().get_image_uri(image)
    if not uri or not Path(uri).exists():
        remedy = "List the studies with GET /datastore/?output=all, or send the image as `file`."
        raise Refused(404, "NO_SUCH_IMAGE", f"There is no study '{image}'.", remedy)
    return uri


def label_path(app: TopoLabelApp, image: str, tag: str) -> str:
    """Return the path of a label of the store.

    Raises:
        Refused: NO_SUCH_LABEL.
    """
    check_name(image, "label")
    check_name(tag, "tag")
    store = app.datastore()
    found = store.get_label_by_image_id(image, tag)
    uri = store.get_label_uri(found, tag) if found else ""
    if not uri or not Path(uri).is_file():
        reason = f"'{image}' has no label '{tag}'."
        raise Refused(404, "NO_SUCH_LABEL", reason, "List the labels with GET /datastore/?output=all.")
    return uri


def who(user: User) -> dict[str, Any]:
    """Return what is kept of a person beside what they did."""
    return {"user": user.username} if user.username else {}


def signed(params: dict[str, Any] | None, user: User) -> dict[str, Any]:
    """Return what a client sends under the name of who signed in; where nobody does, as the client calls itself."""
    return {**(params or {}), **({"client_id": user.username} if chosen().signs_in else {})}


def check_annotator(user: User) -> None:
    """Refuse to store something for somebody who may look only.

    Raises:
        Denied: ROLE_NEEDED.
    """
    if settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR not in user.roles:
        reason = "Saving a label needs the role annotator."
        raise Denied(403, "ROLE_NEEDED", reason, "Ask an admin for that role.", needed="annotator")


def stored_suffixes(app: TopoLabelApp) -> tuple[str, ...]:
    """Return the suffixes of what the app's store keeps."""
    return tuple(pattern.lstrip("*") for pattern in app.kind.image_patterns)


@contextmanager
def uploaded(file: UploadFile, name: str, suffixes: Sequence[str] = VOLUMES) -> Iterator[Path]:
    """Yield an upload as a file of a name, and remove it.

    Args:
        file: What came; of its own name the suffix alone is looked at.
        name: How to call it.
        suffixes: Which it may have.
    Raises:
        Refused: NOT_AN_IMAGE.
    """
    sent = (file.filename or "").lower()
    suffix = next((each for each in suffixes if sent.endswith(each)), "")
    if not suffix:
        known = next((each for each in SUFFIXES if sent.endswith(each)), "no known suffix")
        reason = f"'{Path(sent).name[-80:]}' has {known}, which is not taken here."
        raise Refused(415, "NOT_AN_IMAGE", reason, f"Send one of {', '.join(suffixes)}.")
    with tempfile.TemporaryDirectory(prefix="topolabel-") as folder:
        path = Path(folder) / f"{name}{suffix}"
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
        yield path
