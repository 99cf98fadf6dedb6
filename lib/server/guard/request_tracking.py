"""Give every answer a request id and security headers, and record it in the log and the metrics."""

import logging
import re
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.server.guard.headers import headers_for
from lib.server.log import REQUEST_CONTEXT, RequestContext
from lib.server.metrics import observe

logger = logging.getLogger(__name__)

ID_HEADER = "X-Request-ID"
MAX_LOGGED = 200
# Secrets do not belong in a query, but clients may put one there; it must not reach the log.
_SECRET = re.compile(r"((?:^|(?<=&))[^&=]*(?:token|password|secret|authorization|session)[^&=]*)=[^&]*", re.IGNORECASE)
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


class RequestTrackingMiddleware:
    """The outermost ASGI middleware.

    Args:
        app: The application that answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and log it if it is refused."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context, status, start = RequestContext(_client_id(scope) or uuid.uuid4().hex), 0, time.perf_counter()
        REQUEST_CONTEXT.set(context)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in headers_for(scope["path"]).items():
                    headers.setdefault(name, value)
                headers[ID_HEADER] = context.id
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            observe(scope, status, time.perf_counter() - start, context.code)
            if status >= 400:
                _log(scope, status, context.code)


def _client_id(scope: Scope) -> str:
    """Return the request id that the client sent; empty if it sent none or one that is not safe to log."""
    values = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return values[0].decode() if len(values) == 1 and _ID.fullmatch(values[0]) else ""


def _log(scope: Scope, status: int, code: str) -> None:
    # Viewers poll routes that answer 404 in normal use, for example if no training runs. That is no attack.
    is_normal = status == 404 and code == "NOT_FOUND" and hasattr(scope.get("route"), "methods")
    client = (scope.get("client") or ("?",))[0]
    address = (scope.get("raw_path") or scope["path"].encode())[:MAX_LOGGED].decode("latin-1")
    query = _SECRET.sub(r"\1=...", scope.get("query_string", b"").decode("latin-1"))[:MAX_LOGGED]
    values = (scope["method"], address + (f"?{query}" if query else ""), client, status, code)
    logger.log(logging.INFO if is_normal else logging.WARNING, "refused %s %s from %s: %d %s", *values)
