"""How much one request may hold, in its headers and in its body as it streams in."""

import asyncio
import contextlib
import re

from starlette.types import Message, Receive, Scope

from lib.server.refusals import Refused

MAX_UPLOAD_BYTES = 4 << 30
MAX_BODY_BYTES = 1 << 20
"""Of a request that brings no file."""
MAX_PATH_BYTES = 2 << 10
MAX_QUERY_BYTES = 8 << 10
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 << 10
STALLED_SECONDS = 60.0
DRAINED_BYTES, DRAINED_SECONDS = 16 << 20, 2.0
"""Of a refused body that is read all the same: a client that still sends would see its connection break instead."""
_UPLOADS = re.compile(r"PUT /(?:datastore(?:/image|/label)?|session)/?|POST /infer/[^/]+/?")


def is_upload(scope: Scope) -> bool:
    """Say whether a request is one that may bring a file."""
    return _UPLOADS.fullmatch(f"{scope['method']} {scope['path']}") is not None


def check_headers(scope: Scope) -> None:
    """Refuse an address or headers longer than any client of ours sends."""
    path, query = scope.get("raw_path") or scope["path"].encode(), scope.get("query_string", b"")
    if len(path) > MAX_PATH_BYTES or len(query) > MAX_QUERY_BYTES:
        reason = f"An address may have {MAX_PATH_BYTES} bytes and {MAX_QUERY_BYTES} in its query."
        raise Refused(414, "ADDRESS_TOO_LONG", reason, "Send long values in the body.")
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        reason = f"A request may have {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes in all."
        raise Refused(431, "HEADERS_TOO_LARGE", reason, "Remove cookies and headers of other sites.")


class Body:
    """The body of one request, counted as it arrives: a chunked one announces no length.

    Args:
        scope: The request.
        receive: Where it comes from.
        max_upload_bytes: Largest body that brings a file.
        stalled_seconds: How long nothing may come of an unfinished body.
    """

    def __init__(
        self, scope: Scope, receive: Receive, max_upload_bytes: int, stalled_seconds: float = STALLED_SECONDS
    ) -> None:
        self._headers = headers = dict(scope["headers"])
        # Forms that are no files are held in memory, whatever their size.
        with_file = is_upload(scope) and headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        self._max_bytes = max_upload_bytes if with_file else min(MAX_BODY_BYTES, max_upload_bytes)
        self._receive, self._stalled_seconds, self._received, self._open = receive, stalled_seconds, 0, True

    def check_length(self) -> None:
        """Refuse a body that announces too much.

        Raises:
            Refused: TOO_LARGE.
        """
        length = self._headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next part.

        Raises:
            Refused: If it is too much, or does not come.
        """
        if not self._open:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._stalled_seconds)
        except TimeoutError:
            reason = f"Nothing came for {self._stalled_seconds:g} s."
            raise Refused(408, "STALLED", reason, "Send it again over a better line.") from None
        self._received += len(message.get("body", b""))
        self._open = bool(message.get("more_body", False))
        if self._received > self._max_bytes:
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Read what is on its way, within bounds, unless the client waits for a word before it sends."""
        drained = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINED_SECONDS):
                while self._open and drained < DRAINED_BYTES and b"expect" not in self._headers:
                    message = await self._receive()
                    drained += len(message.get("body", b""))
                    self._open = bool(message.get("more_body", False))

    def _too_large(self) -> Refused:
        reason = f"This request may hold {self._max_bytes / 2**20:g} MiB."
        return Refused(413, "TOO_LARGE", reason, "Crop the image, or store it as int16.")
