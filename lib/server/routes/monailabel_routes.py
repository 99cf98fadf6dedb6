"""MONAI Label's own routes that are kept: their blocking code runs in threads, and their values are checked."""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial, wraps
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from monailabel.endpoints import batch_infer, datastore, info, model, scoring, train
from starlette.concurrency import run_in_threadpool

from lib.server.bounded_executor import BoundedExecutor
from lib.server.guard.names import NAME_KEYS, check_name
from lib.server.guard.values import check_values
from lib.server.routes.request import with_client_id

KEPT_MODULES = [batch_infer, datastore, info, model, scoring, train]
SYNC_EXECUTOR = BoundedExecutor("jobs waited for", at_once=4, waiting=0)
"""Threads of requests that wait for the end of a job, which may take hours."""

Endpoint = Callable[..., Coroutine[Any, Any, Any]]


def remaining_routes(own_routers: Iterable[APIRouter]) -> APIRouter:
    """Return MONAI Label's routes without those that TopoLabel's own routers replace."""
    taken = {
        (method, route.path) for router in own_routers for route in _routes(router) for method in route.methods or ()
    }
    router = APIRouter()
    for module in KEPT_MODULES:
        for route in _routes(module.router):
            if methods := sorted(method for method in route.methods or () if (method, route.path) not in taken):
                router.add_api_route(
                    route.path,
                    _in_thread(route.endpoint),
                    methods=methods,
                    summary=route.summary,
                    tags=route.tags,
                    responses=route.responses,
                    deprecated=route.deprecated,
                    include_in_schema=route.include_in_schema,
                    response_model=route.response_model,
                )
    return router


def _routes(router: APIRouter) -> list[APIRoute]:
    return [route for route in router.routes if isinstance(route, APIRoute)]


def _in_thread(endpoint: Endpoint) -> Endpoint:
    @wraps(endpoint)
    async def threaded(**values: Any) -> Any:
        for name, value in values.items():
            if name in NAME_KEYS and isinstance(value, str):
                check_name(value, name)
            check_values(value, name)
        if "user" in values and isinstance(values.get("params", ""), dict | None):
            values["params"] = with_client_id(values["params"], values["user"])
        if values.get("run_sync"):
            return await SYNC_EXECUTOR.run(lambda _: _run_without_loop(endpoint, values))
        return await run_in_threadpool(partial(_run_without_loop, endpoint, values))

    return threaded


def _run_without_loop(endpoint: Endpoint, values: dict[str, Any]) -> Any:
    """Return the result of a coroutine that never awaits anything.

    Raises:
        RuntimeError: If the coroutine awaits something.
    """
    work = endpoint(**values)
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise RuntimeError(f"{endpoint.__name__} awaits something, but this thread has no event loop")
