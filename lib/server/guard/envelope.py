"""What every answer carries, whoever gives it: an id, headers for browsers, and its place in the log and metrics."""

import logging
import re
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.server.guard.headers import headers_for
from lib.server.log import ASKED, Asked
from lib.server.metrics import observe

logger = logging.getLogger(__name__)

ID_HEADER = "X-Request-ID"
MAX_LOGGED = 200
# Where no secret belongs, and where some client will put one.
_SECRET = re.compile(r"((?:^|(?<=&))[^&=]*(?:token|password|secret|authorization|session)[^&=]*)=[^&]*", re.IGNORECASE)
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


class Envelope:
    """The outermost ASGI middleware.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and log it if it was refused."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked, status, start = Asked(_given(scope) or uuid.uuid4().hex), 0, time.perf_counter()
        ASKED.set(asked)

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in headers_for(scope["path"]).items():
                    headers.setdefault(name, value)
                headers[ID_HEADER] = asked.id
            await send(message)

        try:
            await self.app(scope, receive, dressed)
        finally:
            observe(scope, status, time.perf_counter() - start, asked.code)
            if status >= 400:
                _log(scope, status, asked.code)


def _given(scope: Scope) -> str:
    """Return the client's own id of a request, empty if it has none that can be put into a log."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return given[0].decode() if len(given) == 1 and _ID.fullmatch(given[0]) else ""


def _log(scope: Scope, status: int, code: str) -> None:
    # That there is no training, and the like, is what viewers ask all day and no attack.
    usual = status == 404 and code == "NOT_FOUND" and hasattr(scope.get("route"), "methods")
    client = (scope.get("client") or ("?",))[0]
    address = (scope.get("raw_path") or scope["path"].encode())[:MAX_LOGGED].decode("latin-1")
    query = _SECRET.sub(r"\1=...", scope.get("query_string", b"").decode("latin-1"))[:MAX_LOGGED]
    told = (scope["method"], address + (f"?{query}" if query else ""), client, status, code)
    logger.log(logging.INFO if usual else logging.WARNING, "refused %s %s from %s: %d %s", *told)
