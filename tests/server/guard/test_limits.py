"""The size limits of one request."""

import asyncio
from typing import Any

import pytest

from lib.server.guard.limits import MAX_BODY_BYTES, Body, check_headers, is_upload
from lib.server.refusals import Refused

FORM = [(b"content-type", b"multipart/form-data; boundary=x")]


def scope(
    method: str = "GET", path: str = "/x", headers: list[tuple[bytes, bytes]] | None = None, query: bytes = b""
) -> Any:
    return {"method": method, "path": path, "raw_path": path.encode(), "headers": headers or [], "query_string": query}


@pytest.mark.parametrize(
    ("method", "path", "is_one"),
    [
        ("PUT", "/datastore/", True),
        ("PUT", "/datastore/image", True),
        ("PUT", "/datastore/label", True),
        ("PUT", "/session/", True),
        ("POST", "/infer/tubes", True),
        ("PUT", "/datastore/image/info", False),
        ("POST", "/train/tubes", False),
        ("GET", "/datastore/image", False),
    ],
)
def test_uploads_are_recognised(method: str, path: str, is_one: bool) -> None:
    assert is_upload(scope(method, path)) is is_one


@pytest.mark.parametrize(
    ("request_scope", "code"),
    [
        (scope(path="/" + "x" * 2100), "ADDRESS_TOO_LONG"),
        (scope(query=b"x" * 8200), "ADDRESS_TOO_LONG"),
        (scope(headers=[(b"a", b"1")] * 65), "HEADERS_TOO_LARGE"),
        (scope(headers=[(b"cookie", b"x" * 17000)]), "HEADERS_TOO_LARGE"),
    ],
)
def test_long_addresses_and_headers_are_refused(request_scope: Any, code: str) -> None:
    with pytest.raises(Refused, match=code):
        check_headers(request_scope)


def read(body: Body, parts: int) -> None:
    async def all_parts() -> None:
        for _ in range(parts):
            await body.receive()

    asyncio.run(all_parts())


def sender(*parts: bytes) -> Any:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.sleep(60)

    return receive


def test_only_a_file_may_be_large() -> None:
    length = [(b"content-length", str(MAX_BODY_BYTES + 1).encode())]
    Body(scope("PUT", "/session/", FORM + length), sender(), 4 << 30).check_length()
    for request_scope in (scope("PUT", "/session/", length), scope("POST", "/train/a", FORM + length)):
        with pytest.raises(Refused, match="TOO_LARGE"):
            Body(request_scope, sender(), 4 << 30).check_length()


def test_a_body_without_content_length_is_counted() -> None:
    read(Body(scope("PUT", "/session/", FORM), sender(b"a" * 60, b"a" * 40), 100), 2)
    with pytest.raises(Refused, match="TOO_LARGE"):
        read(Body(scope("PUT", "/session/", FORM), sender(b"a" * 60, b"a" * 41), 100), 2)


def test_an_absurd_content_length_is_refused() -> None:
    with pytest.raises(Refused, match="TOO_LARGE"):
        Body(scope("PUT", "/session/", [*FORM, (b"content-length", b"9" * 4000)]), sender(), 4 << 30).check_length()


def test_a_body_that_does_not_arrive_times_out() -> None:
    with pytest.raises(Refused, match="STALLED"):
        read(Body(scope("PUT", "/x"), sender(b"a"), 100, stalled_seconds=0.02), 2)


def test_a_refused_body_is_drained_within_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.server.guard.limits.DRAINED_SECONDS", 0.05)
    parts = [b"a" * 10] * 3
    receive = sender(*parts)
    asyncio.run(Body(scope("PUT", "/x"), receive, 5).drain())  # ends although the last part never arrives
    waits = Body(
        scope("PUT", "/x", [(b"expect", b"100-continue")]), lambda: pytest.fail("the client was asked to send"), 5
    )
    asyncio.run(waits.drain())
    monkeypatch.setattr("lib.server.guard.limits.DRAINED_BYTES", 15)
    left = sender(*parts)
    asyncio.run(Body(scope("PUT", "/x"), left, 5).drain())
    assert asyncio.run(left())["body"] == b"a" * 10, "the third part was not read"
