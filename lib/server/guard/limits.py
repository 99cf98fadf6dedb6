"""Limits of one request: the size of its address, its headers and its body, checked while the body arrives."""

import asyncio
import contextlib
import re

from starlette.types import Message, Receive, Scope

from lib.server.refusals import Refused

MAX_UPLOAD_BYTES = 4 << 30
MAX_BODY_BYTES = 1 << 20
"""Largest body of a request without a file."""
MAX_PATH_BYTES = 2 << 10
MAX_QUERY_BYTES = 8 << 10
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 << 10
STALLED_SECONDS = 60.0
DRAINED_BYTES, DRAINED_SECONDS = 16 << 20, 2.0
"""How much of a refused body is still read. Otherwise a client that is still sending sees a broken connection."""
_UPLOADS = re.compile(r"PUT /(?:datastore(?:/image|/label)?|session)/?|POST /infer/[^/]+/?")


def is_upload(scope: Scope) -> bool:
    """Return whether a request may upload a file."""
    return _UPLOADS.fullmatch(f"{scope['method']} {scope['path']}") is not None


def check_headers(scope: Scope) -> None:
    """Refuse an address or headers that are longer than any known client sends.

    Raises:
        Refused: ADDRESS_TOO_LONG or HEADERS_TOO_LARGE.
    """
    path, query = scope.get("raw_path") or scope["path"].encode(), scope.get("query_string", b"")
    if len(path) > MAX_PATH_BYTES or len(query) > MAX_QUERY_BYTES:
        reason = f"The address is too long: the limits are {MAX_PATH_BYTES} bytes, and {MAX_QUERY_BYTES} in the query."
        raise Refused(414, "ADDRESS_TOO_LONG", reason, "Send long values in the body.")
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        reason = f"The headers are too large: the limits are {MAX_HEADERS} headers and {MAX_HEADER_BYTES} bytes in all."
        raise Refused(431, "HEADERS_TOO_LARGE", reason, "Delete cookies of other sites and remove unneeded headers.")


class Body:
    """The body of one request. Its bytes are counted as they arrive, since a chunked body announces no length.

    Args:
        scope: ASGI scope of the request.
        receive: Returns the next ASGI message of the request.
        max_upload_bytes: Largest body of a file upload, in bytes.
        stalled_seconds: Timeout of one part of the body, in seconds.
    """

    def __init__(
        self, scope: Scope, receive: Receive, max_upload_bytes: int, stalled_seconds: float = STALLED_SECONDS
    ) -> None:
        self._headers = headers = dict(scope["headers"])
        # Only files of a multipart form are written to disk; all other bodies are held in memory.
        with_file = is_upload(scope) and headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        self._max_bytes = max_upload_bytes if with_file else min(MAX_BODY_BYTES, max_upload_bytes)
        self._receive, self._stalled_seconds, self._received, self._open = receive, stalled_seconds, 0, True

    def check_length(self) -> None:
        """Refuse a body whose Content-Length is above the limit.

        Raises:
            Refused: TOO_LARGE.
        """
        length = self._headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next part of the body.

        Raises:
            Refused: TOO_LARGE if the body is above the limit; STALLED if no part arrives in time.
        """
        if not self._open:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._stalled_seconds)
        except TimeoutError:
            reason = f"No data arrived for {self._stalled_seconds:g} s."
            raise Refused(408, "STALLED", reason, "Send the request again over a more stable connection.") from None
        self._received += len(message.get("body", b""))
        self._open = bool(message.get("more_body", False))
        if self._received > self._max_bytes:
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Read and discard the rest of the body, within limits, unless the client waits for "100 Continue"."""
        drained = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINED_SECONDS):
                while self._open and drained < DRAINED_BYTES and b"expect" not in self._headers:
                    message = await self._receive()
                    drained += len(message.get("body", b""))
                    self._open = bool(message.get("more_body", False))

    def _too_large(self) -> Refused:
        reason = f"The body is too large: the limit of this request is {self._max_bytes / 2**20:g} MiB."
        return Refused(413, "TOO_LARGE", reason, "Crop the image, or store it as int16.")
