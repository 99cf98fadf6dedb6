"""MONAI Label's web application, guarded: what uvicorn serves (`lib.server.app:app`)."""

import os

# MONAI Label's loader would delete lib.* from sys.modules, and every exception class here would exist twice.
os.environ.setdefault("MONAI_LABEL_RELOAD_APP_LIB", "false")

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from monailabel.app import app
from monailabel.config import settings
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response

from lib.server.admin import pages
from lib.server.auth.attach import attach
from lib.server.guard.envelope import ID_HEADER, Envelope
from lib.server.guard.guard import Guard, answer
from lib.server.guard.origins import Origins
from lib.server.guard.rates import Rates
from lib.server.refusals import refusal
from lib.server.routes import router
from lib.server.schema import describe_refusals

KEPT = ("/openapi.json", "/docs", "/static", "/", "/favicon.ico")
"""What stays of MONAI Label's application beside the routes of its modules, which `lib.server.routes` has."""
MAX_FIELDS, MAX_FILES = 16, 4096


def harden(app: FastAPI) -> FastAPI:
    """Put the guard before MONAI Label's application, and checked routes in the place of its own.

    Args:
        app: MONAI Label's application, before its first request; changed in place.
    Returns:
        `app`.
    """
    theirs = [route for route in app.router.routes if getattr(route, "path", None) in KEPT]
    app.router.routes.clear()
    origins = Origins.of()
    gate = attach(app)
    app.include_router(router, prefix=settings.MONAI_LABEL_API_STR)
    pages.install(app)
    app.router.routes.extend(theirs)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    describe_refusals(app)
    # The first is the outermost: an answer of the guard, too, carries the CORS headers and an id.
    app.user_middleware[:] = [
        Middleware(Envelope),
        Middleware(
            CORSMiddleware,
            allow_origins=origins.pages,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=[ID_HEADER, "Retry-After"],
        ),
        Middleware(Guard, origins=origins, rates=Rates.of()),
        gate,
    ]
    return app


async def _answer(request: Request, error: Exception) -> Response:
    return answer(refusal(error, f"{request.method} {request.url.path}"))


# A label of a whole volume, in the pieces of 64 KiB that are usual, takes longer to send than a click takes to answer.
FileResponse.chunk_size = 4 << 20
# Fields of a form are held in memory; a thousand of one MiB, the usual limits, would fill it.
Request.form.__kwdefaults__ = {**(Request.form.__kwdefaults__ or {}), "max_fields": MAX_FIELDS, "max_files": MAX_FILES}
app = harden(app)
