"""Whoever knows who somebody is: nobody (all are one admin), a users file, or a provider elsewhere."""

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

import anyio
import anyio.to_thread

from lib.server.auth.denied import Denied, not_signed_in
from lib.server.auth.roles import GIVEN, Identity, Role
from lib.server.auth.sessions import Session, Sessions
from lib.server.auth.users import BadUsers, User, UsersFile

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Checking a password takes 64 MiB and a core by design; the framework's threads belong to those who are in.
_limiter = anyio.CapacityLimiter(2)


class Authority(Protocol):
    """Tells who somebody is; every method but `describe` and `sign_out` raises `Denied` where it cannot."""

    enabled: bool

    def describe(self) -> dict[str, Any]:
        """Return what viewers ask before they sign in: ``enabled``, ``client_id``, ``realm``."""
        ...

    async def grant(self, name: str, password: str, /) -> dict[str, Any]:
        """Return a bearer token as ``{access_token, token_type}``."""
        ...

    async def open(self, name: str, password: str, /) -> str:
        """Begin a browser's session and return the secret for its cookie."""
        ...

    async def bearer(self, token: str, /) -> Identity:
        """Return who a bearer token is of."""
        ...

    async def session(self, secret: str, /) -> Identity:
        """Return who a browser's session is of."""
        ...

    def sign_out(self, secret: str, /) -> None:
        """End what a secret opens, where it can be ended."""
        ...


class Everybody:
    """The authority of a machine that only its owner reaches: everybody is the admin, as MONAI Label has it."""

    enabled = False

    def describe(self) -> dict[str, Any]:
        """Say that nobody signs in."""
        return {"enabled": False, "client_id": "", "realm": ""}

    async def grant(self, name: str, password: str) -> dict[str, Any]:
        """Return no token: none is needed."""
        return {"access_token": None, "token_type": None}

    async def open(self, name: str, password: str) -> str:
        """Return a secret that opens nothing."""
        return ""

    async def bearer(self, token: str) -> Identity:
        """Return the admin."""
        return Identity("admin", Role.ADMIN)

    session = bearer

    def sign_out(self, secret: str) -> None:
        """End nothing."""


class LocalUsers:
    """An authority that asks a users file, at every request: who is removed from it is out at once.

    Args:
        file: The users.
        sessions: Who is in.
    """

    enabled = True

    def __init__(self, file: UsersFile, sessions: Sessions | None = None) -> None:
        self.file, self.sessions = file, sessions or Sessions()

    def describe(self) -> dict[str, Any]:
        """Say that people sign in, at no realm but this server."""
        return {"enabled": True, "client_id": "", "realm": ""}

    async def grant(self, name: str, password: str) -> dict[str, Any]:
        """Return a token that is a session's secret."""
        secret = await self.open(name, password)
        return {"access_token": secret, "token_type": "bearer", "expires_in": int(self.sessions.life_s)}

    async def open(self, name: str, password: str) -> str:
        """Begin a session."""
        user = await in_thread(_trusted, lambda: self.file.check(name, password))
        if user is None:
            raise wrong_password()
        return self.sessions.open(Session(name, user.password))

    async def bearer(self, token: str) -> Identity:
        """Return who a session is of, with the role that they have now."""
        session = self.sessions.find(token)
        user: User | None = _trusted(self.file.users).get(session.name) if session else None
        # A new password ends the sessions of the old one.
        if session is None or user is None or user.password != session.stamp:
            raise not_signed_in("SESSION_OVER", "The session is over.")
        return Identity(session.name, GIVEN[user.role])

    session = bearer

    def sign_out(self, secret: str) -> None:
        """End a session."""
        self.sessions.close(secret)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a function returns that waits or computes for long, without keeping others waiting."""
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=_limiter)


def wrong_password() -> Denied:
    """Return the refusal of a name and password, which does not say which of them is wrong."""
    return Denied(401, "WRONG_PASSWORD", "Name or password is wrong.", "Try again, or ask an admin.")


def _trusted(ask: Callable[[], T]) -> T:
    """Return what the users file tells, or refuse everybody until it is in order."""
    try:
        return ask()
    except BadUsers as error:
        logger.error("nobody is let in: %s", error)
        remedy = "The admin finds in the log what to mend."
        raise Denied(503, "USERS_FILE", "The users file is not in order.", remedy) from None
