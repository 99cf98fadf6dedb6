"""The OHIF that comes with MONAI Label, told which server it is on."""

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
"""Where OHIF's panel looks for its server's address; without it the port is 8000, whatever the page's own is."""

router = APIRouter(tags=["Others"])
_files = StaticFiles(directory=FOLDER)


@router.get("/ohif/{path:path}", include_in_schema=False)
def ohif(request: Request, user: Reader, path: str) -> FileResponse:
    """Return a file of the viewer, and its page for an address that only the viewer knows."""
    with suppress(OSError):  # a name too long for any file
        found, facts = _files.lookup_path(path)
        if facts is not None and Path(found).is_file():
            return FileResponse(found)
    page = FileResponse(FOLDER / "index.html")
    # Percent-encoded, as the panel writes it itself.
    page.set_cookie(SERVER_COOKIE, quote(str(request.base_url), safe=""), samesite="strict")
    return page
