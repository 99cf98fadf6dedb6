"""The table of roles compared with the real application: all rows, roles and routes."""

import asyncio
import re

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from monailabel.endpoints.user.auth import RBAC
from starlette.types import Message, Receive, Scope, Send

from lib.server.app import app
from lib.server.auth.access_denied import AccessDenied
from lib.server.auth.gate import Gate
from lib.server.auth.roles import ASSIGNABLE_ROLES, LOCAL_WITHOUT_SIGN_IN, TABLE, Identity, Role, find_row, list_rows
from lib.server.auth.routes import role_names, show_access_denied

SENDERS = {"anonymous": None, "no role": Role.SIGNED_IN} | ASSIGNABLE_ROLES


class Known:
    """An authority that takes the token for the name of the role."""

    enabled = True

    async def identify_bearer(self, token: str) -> Identity:
        return Identity(token, SENDERS[token] or Role.ANYONE)


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def scope_of(row: str, sender: str = "anonymous") -> Scope:
    """Return a request for a row with values for its path parameters."""
    method, template = row.split(" ", 1)
    path = re.sub(r"\{[^}]+\}", "x1", template)
    headers = [] if sender == "anonymous" else [(b"authorization", f"Bearer {sender}".encode())]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "app": app}
    return scope | {
        "headers": headers,
        "client": ("10.0.0.9", 1),
        "server": ("h", 80),
        "scheme": "http",
        "root_path": "",
    }


def status(row: str, sender: str, address: str = "10.0.0.9") -> int:
    """Return the status with which the gate answers for a route of the real application; 200 if the request passes."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Scope = {**scope_of(row, sender), "client": (address, 1)}
    try:
        asyncio.run(Gate(behind, Known(), show_access_denied)(scope, receive, send))  # type: ignore[arg-type]
    except AccessDenied as denied:
        return denied.status
    return sent[0]["status"]


def test_the_table_has_exactly_the_routes_of_the_application() -> None:
    found = list_rows(app.routes)
    assert found - set(TABLE) == set(), "routes without a role"
    assert set(TABLE) - found == set(), "rows without a route"
    assert len(found) > 50


@pytest.mark.parametrize("row", TABLE)
def test_each_role_at_each_row(row: str) -> None:
    for sender, role in SENDERS.items():
        has = Role.ANYONE if role is None else role
        expected = 200 if has >= TABLE[row] else 401 if role is None else 403
        assert status(row, sender) == expected, (row, sender)


@pytest.mark.parametrize("row", TABLE)
def test_this_machine_needs_no_sign_in_for_metrics_only(row: str) -> None:
    assert (status(row, "anonymous", "127.0.0.1") == 200) is (row in LOCAL_WITHOUT_SIGN_IN or TABLE[row] is Role.ANYONE)


@pytest.mark.parametrize("row", TABLE)
def test_each_row_is_found_for_its_own_request(row: str) -> None:
    assert find_row(scope_of(row)) == row


@pytest.mark.parametrize("path", ["/static/ohif/index.html", "/ohif/", "/ohif/a/b.js", "/docs", "/openapi.json"])
def test_files_and_api_descriptions_are_behind_the_gate(path: str) -> None:
    for method in ("GET", "HEAD"):
        if method == "HEAD" and path.startswith("/ohif"):
            continue
        assert [status(f"{method} {path}", each) for each in ("anonymous", "no role", "user")] == [401, 403, 200]


@pytest.mark.parametrize("row", ["GET /nowhere", "PATCH /info/", "OPTIONS /info/", "GET /info", "HEAD /info/"])
def test_unknown_addresses_pass_the_gate_for_signed_in_users_only(row: str) -> None:
    assert [status(row, each) for each in ("anonymous", "no role", "admin")] == [401, 200, 200]


def test_no_row_requires_less_than_monai_label() -> None:
    checked = 0
    for route in iter_route_contexts(app.routes):
        found = route.dependant.dependencies if isinstance(route.original_route, APIRoute) else []
        for role in [role_names()[str(each.call.roles)] for each in found if isinstance(each.call, RBAC)]:
            for row in list_rows([route]):  # type: ignore[list-item]
                checked += 1
                assert TABLE[row] >= role, f"{row}: MONAI Label requires {role.name}"
    assert checked > 40


@pytest.mark.parametrize(
    ("row", "role"),
    [
        ("PUT /datastore/label", Role.ANNOTATOR),
        ("DELETE /datastore/image", Role.ADMIN),
        ("POST /train/{model}", Role.ADMIN),
        ("GET /logs/", Role.ADMIN),
        ("POST /infer/{model}", Role.USER),
        ("POST /auth/token", Role.ANYONE),
    ],
)
def test_rows_have_the_intended_roles(row: str, role: Role) -> None:
    assert TABLE[row] is role
