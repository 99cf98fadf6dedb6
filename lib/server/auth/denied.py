"""A request that is refused for who sends it: its answer and its line in the log."""

import logging
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lib.server.refusals import Refused

logger = logging.getLogger(__name__)

SIGN_IN = "Sign in at /login, or POST name and password to /auth/token and send the token as Authorization: Bearer."


class Denied(Refused):
    """Raised where a request is refused for who sends it.

    Args:
        status: 401, 403, 413, 429 or 503.
        code: Stable name of the reason.
        reason: What is wrong; it goes to the log as well, so never a token or a password.
        remedy: What to do about it.
        headers: Headers of the answer.
        more: Further fields of the answer.
    """

    def __init__(
        self, status: int, code: str, reason: str, remedy: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, code, reason, remedy, **more)
        self.headers = dict(headers or {})

    def answer(self) -> Response:
        """Return what the client is told."""
        return JSONResponse(self.body, self.status, self.headers)

    def log(self, request: Request, name: str) -> None:
        """Write one line: who asked for what from where, and why it was refused."""
        address = request.client.host if request.client else "this machine"
        # Quoted by repr: neither an address nor a name may begin a line of its own. The query may hold a token.
        where = f"{request.method} {request.url.path!r} by {name!r} from {address}"
        logger.warning("refused %s: %s %s", where, self.body["code"], self.body["reason"])


def not_signed_in(code: str, reason: str) -> Denied:
    """Return the refusal of a request without valid credentials.

    Args:
        code: Stable name of the reason.
        reason: What is wrong with them.
    """
    error = "" if code == "NOT_SIGNED_IN" else ', error="invalid_token"'
    return Denied(401, code, reason, SIGN_IN, {"WWW-Authenticate": f'Bearer realm="TopoLabel"{error}'})
