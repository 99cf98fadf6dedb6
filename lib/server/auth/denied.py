"""A request that is refused for who sends it: its line in the log."""

import logging

from starlette.requests import Request

from lib.server.refusals import Refused

logger = logging.getLogger(__name__)

SIGN_IN = "Sign in at /login, or POST name and password to /auth/token and send the token as Authorization: Bearer."


class Denied(Refused):
    """Raised where a request is refused for who sends it; its reason never holds a token or a password."""

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
    return Denied(401, code, reason, SIGN_IN, headers={"WWW-Authenticate": f'Bearer realm="TopoLabel"{error}'})
