"""The refusal of a request because of its sender, and the line that it writes to the log."""

import logging

from starlette.requests import Request

from lib.server.refusals import Refused

logger = logging.getLogger(__name__)

SIGN_IN = "Sign in at /login, or POST username and password to /auth/token and send the token as Authorization: Bearer."


class AccessDenied(Refused):
    """Raised if a request is refused because of its sender; the reason never contains a token or a password."""

    def log(self, request: Request, name: str) -> None:
        """Write one log line: the request, the user, the client's address and why it was refused.

        Args:
            request: The refused request.
            name: Name of the user, or "anonymous".
        """
        address = request.client.host if request.client else "this machine"
        # repr() quotes path and name, so they cannot start a new log line. The query is left out: it may hold a token.
        what = f"{request.method} {request.url.path!r} by {name!r} from {address}"
        logger.warning("refused %s: %s %s", what, self.body["code"], self.body["reason"])


def not_signed_in(code: str, reason: str) -> AccessDenied:
    """Return the refusal of a request without valid credentials.

    Args:
        code: Stable name of the reason.
        reason: What is wrong with the credentials.
    """
    error = "" if code == "NOT_SIGNED_IN" else ', error="invalid_token"'
    return AccessDenied(401, code, reason, SIGN_IN, headers={"WWW-Authenticate": f'Bearer realm="TopoLabel"{error}'})
