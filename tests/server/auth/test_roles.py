"""The table of roles against the real application: each of its rows, each role, each of the application's routes."""

import asyncio
import re

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from monailabel.endpoints.user.auth import RBAC
from starlette.types import Message, Receive, Scope, Send

from lib.server.app import app
from lib.server.auth.denied import Denied
from lib.server.auth.gate import Gate
from lib.server.auth.roles import GIVEN, NEARBY, TABLE, Identity, Role, row_of, rows
from lib.server.auth.routes import denied_page, role_names

SENDERS = {"nobody": None, "no role": Role.SIGNED_IN} | GIVEN


class Known:
    """An authority for which the token is the role."""

    enabled = True

    async def bearer(self, token: str) -> Identity:
        return Identity(token, SENDERS[token] or Role.ANYONE)


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def scope_of(row: str, sender: str = "nobody") -> Scope:
    """Return a request for a row, its parameters filled in."""
    method, template = row.split(" ", 1)
    path = re.sub(r"\{[^}]+\}", "x1", template)
    headers = [] if sender == "nobody" else [(b"authorization", f"Bearer {sender}".encode())]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "app": app}
    return scope | {
        "headers": headers,
        "client": ("10.0.0.9", 1),
        "server": ("h", 80),
        "scheme": "http",
        "root_path": "",
    }


def status(row: str, sender: str, address: str = "10.0.0.9") -> int:
    """Return what the gate before the real application's routes answers; 200 where it lets pass."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Scope = {**scope_of(row, sender), "client": (address, 1)}
    try:
        asyncio.run(Gate(behind, Known(), denied_page)(scope, receive, send))  # type: ignore[arg-type]
    except Denied as denied:
        return denied.status
    return sent[0]["status"]


def test_every_route_of_the_application_is_in_the_table_and_no_other() -> None:
    found = rows(app.routes)
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
    assert (status(row, "nobody", "127.0.0.1") == 200) is (row in NEARBY or TABLE[row] is Role.ANYONE)


@pytest.mark.parametrize("row", TABLE)
def test_each_row_is_found_for_its_own_request(row: str) -> None:
    assert row_of(scope_of(row)) == row


@pytest.mark.parametrize("path", ["/static/ohif/index.html", "/ohif/", "/ohif/a/b.js", "/docs", "/openapi.json"])
def test_files_and_descriptions_are_behind_the_gate_too(path: str) -> None:
    for method in ("GET", "HEAD"):
        if method == "HEAD" and path.startswith("/ohif"):
            continue
        assert [status(f"{method} {path}", each) for each in ("nobody", "no role", "user")] == [401, 403, 200]


@pytest.mark.parametrize("row", ["GET /nowhere", "PATCH /info/", "OPTIONS /info/", "GET /info", "HEAD /info/"])
def test_what_no_route_takes_passes_on_for_those_who_are_known(row: str) -> None:
    assert [status(row, each) for each in ("nobody", "no role", "admin")] == [401, 200, 200]


def test_no_row_asks_for_less_than_monai_label_does() -> None:
    checked = 0
    for route in iter_route_contexts(app.routes):
        found = route.dependant.dependencies if isinstance(route.original_route, APIRoute) else []
        for role in [role_names()[str(each.call.roles)] for each in found if isinstance(each.call, RBAC)]:
            for row in rows([route]):  # type: ignore[list-item]
                checked += 1
                assert TABLE[row] >= role, f"{row}: MONAI Label asks for {role.name}"
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
def test_rows_as_they_were_decided(row: str, role: Role) -> None:
    assert TABLE[row] is role
