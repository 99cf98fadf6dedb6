"""Who has signed in: sessions under secrets that only their owners know, and tokens that forms carry back."""

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
    """One that signed in.

    Args:
        name: Who.
        stamp: What must still be so for the session to hold: the hash of their password, or the provider's token.
        renewal: What the provider gives a new token for.
    """

    name: str
    stamp: str
    renewal: str = ""


class Sessions:
    """Sessions of one server's life, in memory: a restart signs everybody out.

    Args:
        life_s: How long one lasts.
        clock: The time, in seconds.
    """

    def __init__(self, life_s: float = LIFE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.life_s, self._clock = life_s, clock
        self._open: dict[str, tuple[float, Session]] = {}
        self._lock = threading.Lock()

    def open(self, session: Session) -> str:
        """Begin a session and return its secret; the oldest of too many of one name ends."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            self._open = {key: each for key, each in self._open.items() if each[0] > now}
            theirs = [key for key, (_, each) in self._open.items() if each.name == session.name]
            for key in theirs[: max(0, len(theirs) - MAX_PER_NAME + 1)]:
                del self._open[key]
            self._open[_digest(secret)] = (now + self.life_s, session)
        return secret

    def find(self, secret: str) -> Session | None:
        """Return the session of a secret while it lasts."""
        expires, session = self._open.get(_digest(secret), (0.0, None))
        return session if expires > self._clock() else None

    def renew(self, secret: str, session: Session) -> None:
        """Put a session in the place of the one of that secret, which ends when it would have ended."""
        with self._lock:
            if held := self._open.get(_digest(secret)):
                self._open[_digest(secret)] = (held[0], session)

    def close(self, secret: str) -> None:
        """End the session of a secret, if there is one."""
        with self._lock:
            self._open.pop(_digest(secret), None)


def form_token(seed: str) -> str:
    """Return what a page's form carries back, so that no other page can send it.

    Args:
        seed: What only this browser sends: the secret of its session, or a cookie of the page.
    """
    return hmac.new(_FORM_KEY, seed.encode(), hashlib.sha256).hexdigest()


def form_is_ours(seed: str, sent: str) -> bool:
    """Say whether a form carries the token of this browser."""
    return hmac.compare_digest(form_token(seed).encode(), sent.encode())


def _digest(secret: str) -> str:
    # What lies in memory opens nothing, and a look-up's time tells nothing about a secret.
    return hashlib.sha256(secret.encode()).hexdigest()
