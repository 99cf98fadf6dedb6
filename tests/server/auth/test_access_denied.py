"""A refusal names the next step, and its log entry is one line without secrets."""

import logging

import pytest
from starlette.requests import Request

from lib.server.auth.access_denied import AccessDenied, not_signed_in


def request(path: str, query: bytes = b"") -> Request:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": [], "server": ("h", 1)}
    return Request(scope | {"client": ("10.0.0.9", 1), "scheme": "http"})


def test_a_request_without_sign_in_gets_instructions() -> None:
    denied = not_signed_in("NOT_SIGNED_IN", "The request has no token.")
    assert denied.status == 401 and denied.headers == {"WWW-Authenticate": 'Bearer realm="TopoLabel"'}
    assert {"code", "reason", "remedy", "detail"} <= set(denied.body) and "/login" in denied.body["remedy"]
    assert 'error="invalid_token"' in not_signed_in("BAD_TOKEN", "").headers["WWW-Authenticate"]


def test_the_log_has_one_line_with_user_request_address_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    denied = AccessDenied(403, "ROLE_NEEDED", "It needs the role admin.", "Ask.")
    denied.log(request("/train/\nforged line", b"token=geheim"), "anna\nforged")
    record = caplog.records[0]
    assert record.levelno == logging.WARNING and len(caplog.records) == 1
    text = record.getMessage()
    assert "\n" not in text and "geheim" not in text
    assert all(part in text for part in ("GET", "/train/", "anna", "10.0.0.9", "ROLE_NEEDED", "role admin"))
