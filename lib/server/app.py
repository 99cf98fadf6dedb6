"""MONAI Label's web application behind the guard, as uvicorn serves it (`lib.server.app:app`)."""

import os

# Otherwise MONAI Label's loader deletes lib.* from sys.modules, and every exception class exists twice.
os.environ.setdefault("MONAI_LABEL_RELOAD_APP_LIB", "false")

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response

from lib.imports import deferred

with deferred("monai"):
    from monailabel.app import app
    from monailabel.config import settings

from lib.server.admin import pages
from lib.server.auth.attach import attach
from lib.server.guard.guard import Guard, answer
from lib.server.guard.origins import Origins
from lib.server.guard.rates import Rates
from lib.server.guard.request_tracking import ID_HEADER, RequestTrackingMiddleware
from lib.server.refusals import refusal
from lib.server.routes import router
from lib.server.schema import describe_refusals

KEPT_PATHS = ("/openapi.json", "/docs", "/static", "/", "/favicon.ico")
"""Routes of MONAI Label's application that stay, besides those that `lib.server.routes` includes."""
MAX_FIELDS, MAX_FILES = 16, 4096


def harden(app: FastAPI) -> FastAPI:
    """Add the guard and the gate to MONAI Label's application, and replace its routes with checked ones.

    Args:
        app: MONAI Label's application, before its first request; changed in place.
    Returns:
        The same application.
    """
    kept_routes = [route for route in app.router.routes if getattr(route, "path", None) in KEPT_PATHS]
    app.router.routes.clear()
    origins = Origins.from_environment()
    gate = attach(app)
    app.include_router(router, prefix=settings.MONAI_LABEL_API_STR)
    pages.install(app)
    app.router.routes.extend(kept_routes)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    describe_refusals(app)
    # The first one is the outermost, so that answers of the guard also carry the CORS headers and a request id.
    app.user_middleware[:] = [
        Middleware(RequestTrackingMiddleware),
        Middleware(
            CORSMiddleware,
            allow_origins=origins.pages,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=[ID_HEADER, "Retry-After"],
        ),
        Middleware(Guard, origins=origins, rates=Rates.from_environment()),
        gate,
    ]
    return app


async def _answer(request: Request, error: Exception) -> Response:
    return answer(refusal(error, f"{request.method} {request.url.path}"))


# With the default chunks of 64 KiB, sending the label of a volume takes longer than answering a click.
FileResponse.chunk_size = 4 << 20
# Form fields are held in memory; the default limit, a thousand fields of 1 MiB, could fill it.
Request.form.__kwdefaults__ = {**(Request.form.__kwdefaults__ or {}), "max_fields": MAX_FIELDS, "max_files": MAX_FILES}
app = harden(app)
