"""Sessions of signed-in users, each found by its secret, and the tokens that protect forms."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFE_S = 12 * 3600.0
MAX_PER_NAME = 20
_FORM_KEY = secrets.token_bytes(32)


@dataclass(frozen=True)
class Session:
    """The session of a signed-in user.

    Args:
        name: The user's name.
        credential: Hash of the user's password, or the provider's access token; the session is valid while this is.
        refresh_token: The provider's refresh token; empty if there is none.
    """

    name: str
    credential: str
    refresh_token: str = ""


class Sessions:
    """The open sessions, kept in memory: a restart of the server signs all users out.

    Args:
        life_s: Lifetime of a session, in seconds.
        clock: Returns the time in seconds.
    """

    def __init__(self, life_s: float = LIFE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.life_s, self._clock = life_s, clock
        self._open: dict[str, tuple[float, Session]] = {}
        self._lock = threading.Lock()

    def open(self, session: Session) -> str:
        """Open a session and return its secret; a user with too many sessions loses the oldest."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            self._open = {key: entry for key, entry in self._open.items() if entry[0] > now}
            same_user = [key for key, (_, other) in self._open.items() if other.name == session.name]
            for key in same_user[: max(0, len(same_user) - MAX_PER_NAME + 1)]:
                del self._open[key]
            self._open[_digest(secret)] = (now + self.life_s, session)
        return secret

    def find(self, secret: str) -> Session | None:
        """Return the session of a secret, None if there is none or it has expired."""
        expires, session = self._open.get(_digest(secret), (0.0, None))
        return session if expires > self._clock() else None

    def replace(self, secret: str, session: Session) -> None:
        """Replace the session of a secret; the time of expiry stays the same."""
        with self._lock:
            if held := self._open.get(_digest(secret)):
                self._open[_digest(secret)] = (held[0], session)

    def close(self, secret: str) -> None:
        """End the session of a secret, if there is one."""
        with self._lock:
            self._open.pop(_digest(secret), None)


def form_token(seed: str) -> str:
    """Return the token of a form, which proves that a page of this server sent the form.

    Args:
        seed: A value that only this browser sends: the secret of its session, or the form cookie.
    """
    return hmac.new(_FORM_KEY, seed.encode(), hashlib.sha256).hexdigest()


def is_valid_form_token(seed: str, sent: str) -> bool:
    """Return whether `sent` is the form token of `seed`."""
    return hmac.compare_digest(form_token(seed).encode(), sent.encode())


def _digest(secret: str) -> str:
    # Only digests are kept: memory reveals no secret, and neither does the time of a look-up.
    return hashlib.sha256(secret.encode()).hexdigest()
