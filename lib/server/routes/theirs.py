"""MONAI Label's own routes that stay: their blocking code in threads, their values checked."""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial, wraps
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from monailabel.endpoints import batch_infer, datastore, info, model, scoring, train
from starlette.concurrency import run_in_threadpool

from lib.server.guard.names import NAME_KEYS, check_name
from lib.server.guard.values import check_values
from lib.server.routes.request import signed
from lib.server.turns import Turns

STAYING = [batch_infer, datastore, info, model, scoring, train]
WAITING = Turns("jobs waited for", at_once=4, waiting=0)
"""Turns of those who wait for the end of a job, which may take hours of a thread."""

Endpoint = Callable[..., Coroutine[Any, Any, Any]]


def routes_beside(ours: Iterable[APIRouter]) -> APIRouter:
    """Return MONAI Label's routes, without those that other routers have in their place."""
    taken = {(method, route.path) for router in ours for route in _routes(router) for method in route.methods or ()}
    router = APIRouter()
    for module in STAYING:
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
            values["params"] = signed(values["params"], values["user"])
        if values.get("run_sync"):
            return await WAITING.run(lambda _: _finished(endpoint, values))
        return await run_in_threadpool(partial(_finished, endpoint, values))

    return threaded


def _finished(endpoint: Endpoint, values: dict[str, Any]) -> Any:
    """Return what a coroutine comes to that waits for nothing."""
    work = endpoint(**values)
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise RuntimeError(f"{endpoint.__name__} waits for something, and has no loop here")
