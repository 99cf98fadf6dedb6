"""The id, headers and log line of every answer."""

import logging

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lib.server.guard.guard import Guard
from lib.server.guard.request_tracking import RequestTrackingMiddleware
from lib.server.log import current_request


async def respond(request: Request) -> Response:
    return PlainTextResponse(
        current_request().id, headers={"Content-Security-Policy": "own"} if "own" in request.url.path else {}
    )


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/{x}", respond, methods=["GET", "PUT"])]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(RequestTrackingMiddleware), Middleware(Guard)]))


def test_every_request_and_its_answer_have_an_id(client: TestClient) -> None:
    ids = {client.get("/x").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    answer = client.get("/x", headers={"X-Request-ID": "from-client.1"})
    assert answer.text == answer.headers["x-request-id"] == "from-client.1"


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "a b c d e f", "<script>alert(1)", "12345678;", "ü1234567", "-abcdefgh"]
)
def test_an_invalid_id_is_replaced(client: TestClient, given: str) -> None:
    assert client.get("/x", headers={"X-Request-ID": given.encode()}).headers["x-request-id"] != given


def test_a_refusal_has_its_id_and_is_logged_once(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.put("/x?image=../y", headers={"X-Request-ID": "attack-0001"})
    assert answer.status_code == 400 and answer.json()["request_id"] == answer.headers["x-request-id"] == "attack-0001"
    lines = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(lines) == 1 and lines[0].getMessage() == "refused PUT /x?image=../y from testclient: 400 BAD_NAME"


def test_an_unknown_address_is_logged_as_well(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/a/b").status_code == 404
    assert [each.levelno for each in caplog.records if "refused GET /a/b" in each.getMessage()] == [logging.WARNING]


def test_every_answer_has_security_headers(client: TestClient) -> None:
    for answer in (client.get("/x"), client.put("/x?tag=../y"), client.get("/a/b")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert client.get("/own").headers["content-security-policy"] == "own"
