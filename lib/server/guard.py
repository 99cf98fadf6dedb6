"""What stands before every route: addresses and names that leave the store, sizes, and exceptions as answers."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.server.refusals import Refused, refusal

MAX_UPLOAD_BYTES = 4 << 30
MAX_NAME = 200
NAME_KEYS = ("image", "label", "id", "tag", "session_id")
_NOT_IN_A_NAME = re.compile(r"[/\\:\x00-\x1f\x7f]")
_MODEL = re.compile(r"/model/[^/]+/?$")
_NOT_OFFERED = re.compile(r"/(?:reload|infer/wsi(?:_v2)?(?:/.*)?)/?$")
"""Whole-slide inference reads any path of this machine; a reload throws the app away and is never needed."""


def check_name(value: str, what: str) -> None:
    """Refuse a name that could be a path.

    Args:
        value: An image id, label id, tag or session id.
        what: Which of them, for the answer.
    Raises:
        Refused: If it holds a separator or control character, begins with a dot, or is too long.
    """
    if not value or len(value) > MAX_NAME or value.startswith(".") or _NOT_IN_A_NAME.search(value):
        remedy = "Use a name without path separators, as GET /datastore/?output=all lists them."
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

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            _check_address(scope)
            _check_query(scope)
            self._check_length(scope)
            await self.app(scope, self._counted(receive), watched)
        except Exception as error:
            if started:
                raise
            refused = refusal(error, f"{scope['method']} {scope['path']}")
            await _answer(send, refused.status, refused.body)

    def _check_length(self, scope: Scope) -> None:
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.max_bytes:
            raise self._too_large()

    def _counted(self, receive: Receive) -> Receive:
        """Return `receive` with its bytes counted: a chunked body announces no length."""
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
        reason = f"A request may hold {self.max_bytes / 2**20:g} MiB."
        return Refused(413, "TOO_LARGE", reason, "Crop the image, or store it as int16.")


def _check_address(scope: Scope) -> None:
    # Unquoted once more than the framework does: the DICOMweb proxy's target may unquote again.
    if ".." in unquote(scope["path"]).replace("\\", "/").split("/"):
        raise Refused(400, "BAD_PATH", "The address leaves its folder.", "Ask for the resource itself.")
    if _NOT_OFFERED.search(scope["path"]):
        raise Refused(404, "NOT_OFFERED", f"{scope['path']} is not offered here.", "GET / lists what is.")
    if scope["method"] in ("PUT", "DELETE") and _MODEL.search(scope["path"]):
        raise Refused(405, "MODEL_READ_ONLY", "Weights are written by training only.", "POST to /train/ instead.")


def _check_query(scope: Scope) -> None:
    for key, value in parse_qsl(scope.get("query_string", b"").decode("latin-1")):
        if key in NAME_KEYS:
            check_name(value, key)
        if key == "uncompress" and value.lower() not in ("0", "false", "no", "off"):
            raise Refused(400, "NO_ARCHIVES", "Archives are not unpacked.", "Send the image itself.")


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
