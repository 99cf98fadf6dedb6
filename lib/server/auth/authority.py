"""Authorities, which identify users: without sign-in (every user is admin) or by a users file."""

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

import anyio
import anyio.to_thread

from lib.server.auth.access_denied import AccessDenied, not_signed_in
from lib.server.auth.roles import ASSIGNABLE_ROLES, Identity, Role
from lib.server.auth.sessions import Session, Sessions
from lib.server.auth.users import BadUsers, User, UsersFile

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# A password check takes 64 MiB and one core by design. It must not occupy the framework's threads.
_limiter = anyio.CapacityLimiter(2)


class Authority(Protocol):
    """Identifies users; all methods except `describe` and `sign_out` raise `AccessDenied` if that fails."""

    enabled: bool

    def describe(self) -> dict[str, Any]:
        """Return what viewers need to know before sign-in: ``enabled``, ``client_id``, ``realm``."""
        ...

    async def issue_token(self, name: str, password: str, /) -> dict[str, Any]:
        """Return a bearer token as ``{access_token, token_type}``."""
        ...

    async def open_session(self, name: str, password: str, /) -> str:
        """Open a browser session and return the secret for its cookie."""
        ...

    async def identify_bearer(self, token: str, /) -> Identity:
        """Return the user of a bearer token."""
        ...

    async def identify_session(self, secret: str, /) -> Identity:
        """Return the user of a browser session."""
        ...

    def sign_out(self, secret: str, /) -> None:
        """End the session of a secret, if there is one."""
        ...


class NoAuthAuthority:
    """The authority of a server without sign-in: every user is admin, as in MONAI Label."""

    enabled = False

    def describe(self) -> dict[str, Any]:
        """Report that sign-in is disabled."""
        return {"enabled": False, "client_id": "", "realm": ""}

    async def issue_token(self, name: str, password: str) -> dict[str, Any]:
        """Return an empty answer: no token is needed."""
        return {"access_token": None, "token_type": None}

    async def open_session(self, name: str, password: str) -> str:
        """Return an empty secret: there are no sessions."""
        return ""

    async def identify_bearer(self, token: str) -> Identity:
        """Return the admin."""
        return Identity("admin", Role.ADMIN)

    identify_session = identify_bearer

    def sign_out(self, secret: str) -> None:
        """Do nothing: there are no sessions."""


class LocalUsersAuthority:
    """The authority of a users file. It checks the file at every request, so a removed user is locked out at once.

    Args:
        file: The users file.
        sessions: The open sessions; new ones if not given.
    """

    enabled = True

    def __init__(self, file: UsersFile, sessions: Sessions | None = None) -> None:
        self.file, self.sessions = file, sessions or Sessions()

    def describe(self) -> dict[str, Any]:
        """Report that users sign in at this server, without an OIDC realm."""
        return {"enabled": True, "client_id": "", "realm": ""}

    async def issue_token(self, name: str, password: str) -> dict[str, Any]:
        """Return a token: the secret of a new session."""
        secret = await self.open_session(name, password)
        return {"access_token": secret, "token_type": "bearer", "expires_in": int(self.sessions.life_s)}

    async def open_session(self, name: str, password: str) -> str:
        """Open a session and return its secret."""
        user = await run_in_thread(_read_users_file, lambda: self.file.check(name, password))
        if user is None:
            raise wrong_password()
        return self.sessions.open(Session(name, user.password))

    async def identify_bearer(self, token: str) -> Identity:
        """Return the user of a session, with the role that the users file gives now."""
        session = self.sessions.find(token)
        user: User | None = _read_users_file(self.file.users).get(session.name) if session else None
        # A new password ends the sessions that were opened with the old one.
        if session is None or user is None or user.password != session.credential:
            raise not_signed_in("SESSION_OVER", "The session has ended.")
        return Identity(session.name, ASSIGNABLE_ROLES[user.role])

    identify_session = identify_bearer

    def sign_out(self, secret: str) -> None:
        """End a session."""
        self.sessions.close(secret)


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a slow function in a thread, so that other requests are not delayed, and return its result."""
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=_limiter)


def wrong_password() -> AccessDenied:
    """Return the refusal of a name and password; it does not reveal which of the two is wrong."""
    reason = "The user name or the password is wrong."
    return AccessDenied(401, "WRONG_PASSWORD", reason, "Try again, or ask an admin for a new password.")


def _read_users_file(read: Callable[[], T]) -> T:
    """Return the result of `read`; deny access to all users while the users file is invalid."""
    try:
        return read()
    except BadUsers as error:
        logger.error("all sign-ins are refused: %s", error)
        remedy = "Ask the admin to correct the users file; the server's log names the error."
        raise AccessDenied(503, "USERS_FILE", "The users file of the server is invalid.", remedy) from None
