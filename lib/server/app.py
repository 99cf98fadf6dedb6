"""MONAI Label's web application, guarded: what uvicorn serves (`lib.server.app:app`)."""

import os

# MONAI Label's loader would delete lib.* from sys.modules, and every exception class here would exist twice.
os.environ.setdefault("MONAI_LABEL_RELOAD_APP_LIB", "false")

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from monailabel.app import app
from monailabel.config import settings
from starlette.middleware import Middleware
from starlette.responses import FileResponse

from lib.server.auth.attach import attach
from lib.server.guard import Guard
from lib.server.routes import router

ORIGINS_VARIABLE = "TOPOLABEL_CORS_ORIGINS"
"""Addresses, separated by commas, whose pages may read answers; MONAI Label's own variable keeps it from starting."""


def harden(app: FastAPI) -> FastAPI:
    """Put the guard and the replacing routes before MONAI Label's own.

    Args:
        app: MONAI Label's application, before its first request; changed in place.
    Returns:
        `app`.
    """
    theirs = list(app.router.routes)
    app.router.routes.clear()
    origins = [origin.strip() for origin in os.environ.get(ORIGINS_VARIABLE, "").split(",") if origin.strip()]
    app.include_router(router, prefix=settings.MONAI_LABEL_API_STR)
    gate = attach(app, origins)
    app.router.routes.extend(theirs)
    # The first is the outermost: an answer of the guard, too, carries the CORS headers.
    app.user_middleware[:] = [
        Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]),
        Middleware(Guard),
        gate,
    ]
    return app


# A label of a whole volume, in the pieces of 64 KiB that are usual, takes longer to send than a click takes to answer.
FileResponse.chunk_size = 4 << 20
app = harden(app)
