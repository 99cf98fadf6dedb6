"""What stands before every route: paths and names that leave the store, sizes, and faults that become an answer."""

import json
import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_UPLOAD_BYTES = 4 << 30
NAME_KEYS = ("image", "label", "id", "tag", "session_id")
NAME = re.compile(r"[\w][\w .,@+=()-]{0,199}")
MODEL_WRITES = re.compile(r"/model/[^/]+/?")


class Refused(Exception):
    """Raised for a request that is answered with a reason instead of a result.

    Args:
        status: HTTP status, 4xx or 5xx.
        code: Stable name of the reason.
        reason: What is wrong.
        remedy: What to do about it.
        more: Further fields of the answer.
    """

    def __init__(self, status: int, code: str, reason: str, remedy: str, **more: Any) -> None:
        super().__init__(f"{code}: {reason}")
        self.status = status
        # FastAPI's own answers have `detail`, and viewers show it.
        self.body = {"code": code, "reason": reason, "remedy": remedy, "detail": f"{reason} {remedy}", **more}


def check_name(value: str, what: str) -> None:
    """Refuse a name that could be a path.

    Args:
        value: An image id, label id, tag or session id.
        what: Which of them, for the answer.
    Raises:
        Refused: If it has a separator, leading dot, or unusual characters.
    """
    if not NAME.fullmatch(value) or ".." in value:
        remedy = "Name it as /datastore/ lists it: letters, digits, spaces and . , @ + = ( ) - _ only."
        raise Refused(400, "BAD_NAME", f"The {what} {value[:80]!r} is no name of the store.", remedy)


class Guard:
    """ASGI middleware around MONAI Label's application.

    Args:
        app: What it guards.
        max_bytes: Largest request body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_UPLOAD_BYTES) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens behind."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, self._limited(receive), watched_send)
        except Exception as error:
            if started:
                raise
            refused = error if isinstance(error, Refused) else fault(scope, error)
            await _answer(send, refused.status, refused.body)

    def _check(self, scope: Scope) -> None:
        for path in (scope["path"], unquote(scope.get("raw_path", b"").decode("latin-1"))):
            # Twice unquoted: a proxy behind may unquote again.
            if ".." in unquote(path).replace("\\", "/").split("/"):
                raise Refused(400, "BAD_PATH", "The address leaves its folder.", "Ask for the resource itself.")
        if scope["method"] in ("PUT", "DELETE") and MODEL_WRITES.fullmatch(scope["path"]):
            remedy = "Train a task, or promote a version from the command line."
            raise Refused(405, "MODEL_READ_ONLY", "Weights are written by training only.", remedy)
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        for key, value in query:
            if key in NAME_KEYS and value:
                check_name(value, key)
            if key == "uncompress" and value.lower() not in ("0", "false", "no", "off"):
                raise Refused(400, "NO_ARCHIVES", "Archives are not unpacked.", "Send the image itself.")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.max_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> Refused:
        return Refused(
            413, "TOO_LARGE", f"A request may hold {self.max_bytes >> 20} MiB.", "Crop the image, or store it as int16."
        )


def fault(scope: Scope, error: Exception) -> Refused:
    """Log an internal fault under an id and return the answer that names the id.

    Args:
        scope: The request's.
        error: What went wrong.
    """
    number = uuid.uuid4().hex[:8]
    logger.error("fault %s in %s %s", number, scope["method"], scope["path"], exc_info=error)
    return Refused(
        500, "INTERNAL", f"The server failed (id {number}).", "Its log explains the id; what was saved is kept.", id=number
    )


async def _answer(send: Send, status: int, body: Mapping[str, Any]) -> None:
    data = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
