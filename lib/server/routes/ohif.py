"""The route of MONAI Label's OHIF viewer, which gets the server's address in a cookie."""

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import monailabel.endpoints
from fastapi import APIRouter, Request
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from lib.server.routes.request import Reader

FOLDER = Path(monailabel.endpoints.__file__).parent / "static" / "ohif"
SERVER_COOKIE = "MONAILABEL_SERVER_URL"
"""Cookie in which OHIF's panel looks for the server's address; without it the panel assumes port 8000."""

router = APIRouter(tags=["Others"])
_files = StaticFiles(directory=FOLDER)


@router.get("/ohif/{path:path}", include_in_schema=False)
def ohif(request: Request, user: Reader, path: str) -> FileResponse:
    """Return a file of the viewer, or the viewer's page for an address that the viewer itself handles."""
    with suppress(OSError):  # the name is too long for a file
        found, facts = _files.lookup_path(path)
        if facts is not None and Path(found).is_file():
            return FileResponse(found)
    page = FileResponse(FOLDER / "index.html")
    # Percent-encoded, as the panel itself writes the cookie.
    page.set_cookie(SERVER_COOKIE, quote(str(request.base_url), safe=""), samesite="strict")
    return page
