"""Requests as bytes on a socket: a client library would normalise the addresses of an attack."""

import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECRET = "the-canary-sings-at-dawn"
BOUNDARY = "cut-here"
TAIL_BYTES = 64 << 10


@dataclass(frozen=True)
class Answer:
    """An answer; status 0 if the connection was closed without one."""

    status: int
    head: str
    body: bytes
    request_id: str
    sent: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Return a multipart body of (field, file name, content)."""
    body = b""
    for field, filename, content in parts:
        name = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{name}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"


def send(
    server: Any, method: str, target: str | bytes, headers: Sequence[str] = (), body: bytes = b"", host: str = ""
) -> Answer:
    """Send one request unchanged and read the whole answer."""
    target = target if isinstance(target, bytes) else target.encode()
    request_id = f"attack-{uuid.uuid4().hex}"
    lines = [f"X-Request-ID: {request_id}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    if host != "none":
        lines.insert(0, f"Host: {host or f'127.0.0.1:{server.port}'}")
    head = method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"
    return exchange(server, head + body, request_id)


def exchange(server: Any, request: bytes, request_id: str = "", *, and_no_more: bool = False) -> Answer:
    """Send bytes, optionally end the sending, and return the data received until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        received = b""
        try:
            wire.sendall(request)
            if and_no_more:
                wire.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server may refuse before it has read all
        try:
            while piece := wire.recv(1 << 16):
                received += piece
        except ConnectionError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0
    return Answer(status, head.decode("latin-1"), body, request_id, request.partition(b"\r\n")[0][:200])


def logged(server: Any, request_id: str) -> bool:
    """Return whether the log names a request as refused exactly once."""
    lines = tail(server.log).splitlines()
    return sum(f"[{request_id}]" in line and "refused " in line and "[WARNING]" in line for line in lines) == 1


def tail(log: Path) -> str:
    """Return the end of the log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace")
