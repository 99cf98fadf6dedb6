"""The table of roles: the lowest role that may use each route."""

from dataclasses import dataclass
from enum import IntEnum

from fastapi.routing import iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope


class Role(IntEnum):
    """The roles of users, lowest first; a role may use all routes of the lower roles."""

    ANYONE = 0
    SIGNED_IN = 1
    USER = 2
    ANNOTATOR = 3
    REVIEWER = 4
    ADMIN = 5


ASSIGNABLE_ROLES = {role.name.lower(): role for role in (Role.USER, Role.ANNOTATOR, Role.REVIEWER, Role.ADMIN)}
"""The roles that an admin can assign to a user, by name."""

TABLE = {
    # Sign in and out
    "GET /auth/": Role.ANYONE,
    "POST /auth/token": Role.ANYONE,
    "GET /auth/token/valid": Role.SIGNED_IN,
    "GET /login": Role.ANYONE,
    "POST /login": Role.ANYONE,
    "GET /login/style.css": Role.ANYONE,
    "POST /logout": Role.SIGNED_IN,
    "GET /favicon.ico": Role.ANYONE,
    # Monitor the server
    "GET /health": Role.ANYONE,
    "GET /ready": Role.ANYONE,
    "GET /metrics": Role.ADMIN,
    # View studies and labels, and request proposals
    "GET /": Role.USER,
    "GET /docs": Role.USER,
    "GET /openapi.json": Role.USER,
    "GET /static/{path}": Role.USER,
    "GET /ohif/{path}": Role.USER,
    "GET /info/": Role.USER,
    "GET /datastore/": Role.USER,
    "GET /datastore/image": Role.USER,
    "HEAD /datastore/image": Role.USER,
    "GET /datastore/image/info": Role.USER,
    "GET /datastore/label": Role.USER,
    "HEAD /datastore/label": Role.USER,
    "GET /datastore/label/info": Role.USER,
    "GET /proxy/dicom/{path}": Role.USER,
    "POST /activelearning/{strategy}": Role.USER,
    "POST /infer/{model}": Role.USER,
    "PUT /session/": Role.USER,
    "GET /session/{session_id}": Role.USER,
    "DELETE /session/{session_id}": Role.USER,
    "GET /train/": Role.USER,
    "GET /batch/infer": Role.USER,
    "GET /scoring/": Role.USER,
    # Add images and labels
    "PUT /datastore/": Role.ANNOTATOR,
    "PUT /datastore/image": Role.ANNOTATOR,
    "PUT /datastore/image/info": Role.ANNOTATOR,
    "PUT /datastore/label": Role.ANNOTATOR,
    "PUT /datastore/label/info": Role.ANNOTATOR,
    "PUT /datastore/updatelabelinfo": Role.ANNOTATOR,
    "GET /datastore/dataset": Role.ANNOTATOR,
    # Review labels and versions
    "GET /admin": Role.REVIEWER,
    "GET /admin/live": Role.REVIEWER,
    "GET /admin/versions": Role.REVIEWER,
    "GET /admin/versions/{task}/{name}": Role.REVIEWER,
    "GET /admin/labels": Role.REVIEWER,
    "GET /admin/plots/{kind}/{task}.svg": Role.REVIEWER,
    "GET /admin/overlay.png": Role.REVIEWER,
    "GET /admin/static/{path}": Role.REVIEWER,
    "POST /scoring/": Role.REVIEWER,
    "POST /scoring/{method}": Role.REVIEWER,
    "DELETE /scoring/": Role.REVIEWER,
    # Delete, train, promote, and read the log
    "GET /admin/annotators": Role.ADMIN,
    "GET /admin/machine": Role.ADMIN,
    "POST /admin/train": Role.ADMIN,
    "GET /admin/stop/{job}": Role.ADMIN,
    "POST /admin/stop/{job}": Role.ADMIN,
    "GET /admin/promote/{task}/{name}": Role.ADMIN,
    "POST /admin/promote/{task}/{name}": Role.ADMIN,
    "GET /admin/rollback/{task}": Role.ADMIN,
    "POST /admin/rollback/{task}": Role.ADMIN,
    "DELETE /datastore/": Role.ADMIN,
    "DELETE /datastore/image": Role.ADMIN,
    "DELETE /datastore/label": Role.ADMIN,
    "POST /train/": Role.ADMIN,
    "POST /train/{model}": Role.ADMIN,
    "DELETE /train/": Role.ADMIN,
    "POST /batch/infer/{model}": Role.ADMIN,
    "DELETE /batch/infer": Role.ADMIN,
    "GET /model/{model}": Role.ADMIN,
    "GET /model/info/{model}": Role.ADMIN,
    "PUT /model/{model}": Role.ADMIN,
    "DELETE /model/{model}": Role.ADMIN,
    "GET /logs/": Role.ADMIN,
    "GET /logs/gpu": Role.ADMIN,
    # Refused for every role: the DICOMweb archive is read-only
    "POST /proxy/{path}": Role.ADMIN,
    "PUT /proxy/{path}": Role.ADMIN,
    "PATCH /proxy/{path}": Role.ADMIN,
    "DELETE /proxy/{path}": Role.ADMIN,
}
"""The lowest role per method and path template; a route without a row is refused for every role."""

LOCAL_WITHOUT_SIGN_IN = frozenset({"GET /metrics"})
"""Rows that need no sign-in for requests from this machine: Prometheus cannot sign in."""


@dataclass(frozen=True)
class Identity:
    """The authenticated sender of a request.

    Args:
        name: The user's name, as written to the ledger.
        role: The user's highest role.
    """

    name: str
    role: Role


def find_row(scope: Scope) -> str | None:
    """Return the table row of the route that will handle a request, None if no route matches.

    Routes are matched as the application's router matches them, in the same order. So no spelling of an address can
    reach a route other than the one whose role is checked.

    Args:
        scope: The ASGI scope of an HTTP request, with the application.
    """
    request = dict(scope)
    for route in iter_route_contexts(scope["app"].routes):
        match, _ = route.matches(request)
        if match is Match.FULL:
            return _row(scope["method"], str(route.path_format or route.path))
    return None


def list_rows(app_routes: list) -> set[str]:
    """Return the table rows of all routes of an application."""
    found = set()
    for route in iter_route_contexts(app_routes):
        # A mount matches every method. A GET route of Starlette also answers HEAD.
        methods = set(route.methods or {"GET"})
        found |= {_row(method, str(route.path_format or route.path)) for method in methods}
    return {row for row in found if not row.startswith("HEAD ") or row in TABLE or f"GET {row[5:]}" not in found}


def _row(method: str, template: str) -> str:
    row = f"{method} {template}"
    return f"GET {template}" if method == "HEAD" and row not in TABLE else row
