"""The routes of the server: TopoLabel's own, which replace or extend MONAI Label's, and the rest of MONAI Label's."""

from fastapi import APIRouter

from lib.server.routes import datastore, health, infer, logs, ohif, proxy, sessions
from lib.server.routes.monailabel_routes import remaining_routes

OWN_ROUTERS = [module.router for module in (infer, datastore, sessions, logs, ohif, proxy, health)]

router = APIRouter()
for part in [*OWN_ROUTERS, remaining_routes(OWN_ROUTERS)]:
    router.include_router(part)

__all__ = ["router"]
