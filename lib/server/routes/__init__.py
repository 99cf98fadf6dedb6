"""The routes: ours, which stand in for MONAI Label's own or beside them, and the rest of MONAI Label's in threads."""

from fastapi import APIRouter

from lib.server.routes import datastore, health, infer, logs, ohif, proxy, sessions
from lib.server.routes.theirs import routes_beside

OURS = [module.router for module in (infer, datastore, sessions, logs, ohif, proxy, health)]

router = APIRouter()
for each in [*OURS, routes_beside(OURS)]:
    router.include_router(each)

__all__ = ["router"]
