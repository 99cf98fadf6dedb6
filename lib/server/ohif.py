"""The OHIF that comes with MONAI Label, told which server it is on."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import monailabel.endpoints
from fastapi import APIRouter, Depends, Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

FOLDER = Path(monailabel.endpoints.__file__).parent / "static" / "ohif"
SERVER_COOKIE = "MONAILABEL_SERVER_URL"
"""Where OHIF's panel looks for its server's address; without it the port is 8000, whatever the page's own is."""

router = APIRouter(prefix="/ohif", tags=["Others"])
_files = StaticFiles(directory=FOLDER)


@router.get("/{path:path}", include_in_schema=False)
def ohif(
    request: Request, user: Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))], path: str
) -> FileResponse:
    """Return a file of the viewer, and its page for an address that only the viewer knows."""
    found, facts = _files.lookup_path(path)
    if facts is not None and Path(found).is_file():
        return FileResponse(found)
    page = FileResponse(FOLDER / "index.html")
    # Percent-encoded, as the panel writes it itself.
    page.set_cookie(SERVER_COOKIE, quote(str(request.base_url), safe=""), samesite="strict")
    return page
