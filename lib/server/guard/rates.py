"""How often one client may ask, by what it asks for."""

import math
import os
import time
from collections.abc import Mapping

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import Scope

from lib.server.guard.limits import is_upload
from lib.server.refusals import Refused

RATES_VARIABLE = "TOPOLABEL_RATES"
"""Other rates than `RATES`, such as ``infer=100/minute,upload=10/minute``."""
RATES = {"upload": "600/minute", "infer": "3000/minute", "rest": "12000/minute"}
"""A department behind one address, each viewer loading a study slice by slice, stays below these."""
UNLIMITED = ("/health", "/ready")


class Rates:
    """Counts of what each client asked for.

    Args:
        rates: By kind, what is allowed instead of `RATES`.
    Raises:
        ValueError: If there is no such kind, or the rate is none.
    """

    def __init__(self, rates: Mapping[str, str] | None = None) -> None:
        if unknown := set(rates or {}) - set(RATES):
            raise ValueError(f"{RATES_VARIABLE}: there is no kind {', '.join(unknown)}; there is {', '.join(RATES)}")
        self._items: dict[str, RateLimitItem] = {k: parse(v) for k, v in (RATES | dict(rates or {})).items()}
        self._window = SlidingWindowCounterRateLimiter(MemoryStorage())

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Rates":
        """Return what the environment says."""
        pairs = [pair.partition("=") for pair in environment.get(RATES_VARIABLE, "").split(",") if pair.strip()]
        return cls({kind.strip(): rate.strip() for kind, _, rate in pairs})

    def check(self, scope: Scope) -> None:
        """Count a request.

        Raises:
            Refused: TOO_MANY_REQUESTS.
        """
        if scope["path"] in UNLIMITED:
            return
        kind, client = _kind(scope), (scope.get("client") or ("?",))[0]
        item = self._items[kind]
        if not self._window.hit(item, kind, client):
            seconds = max(1, math.ceil(self._window.get_window_stats(item, kind, client).reset_time - time.time()))
            reason = f"More than {item.amount} requests of the kind '{kind}' came from {client}."
            remedy = f"Ask again in {seconds} s; the server's {RATES_VARIABLE} says how often one may."
            raise Refused(429, "TOO_MANY_REQUESTS", reason, remedy, retry_after=seconds)


def _kind(scope: Scope) -> str:
    if scope["path"].startswith("/infer/"):
        return "infer"
    return "upload" if is_upload(scope) else "rest"
