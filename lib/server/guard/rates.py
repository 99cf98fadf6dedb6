"""Rate limits per client and kind of request."""

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
"""Rates that replace those of `RATES`, such as ``infer=100/minute,upload=10/minute``."""
RATES = {"upload": "600/minute", "infer": "3000/minute", "rest": "12000/minute"}
"""A department behind one address, whose viewers load studies slice by slice, stays below these rates."""
UNLIMITED = ("/health", "/ready")


class Rates:
    """Counts the requests of every client.

    Args:
        rates: Allowed rate by kind of request; the rate in `RATES` for kinds that are not given.
    Raises:
        ValueError: If a kind does not exist or a rate is invalid.
    """

    def __init__(self, rates: Mapping[str, str] | None = None) -> None:
        if unknown := set(rates or {}) - set(RATES):
            raise ValueError(f"{RATES_VARIABLE}: there is no kind {', '.join(unknown)}: use one of {', '.join(RATES)}")
        self._items: dict[str, RateLimitItem] = {k: parse(v) for k, v in (RATES | dict(rates or {})).items()}
        self._window = SlidingWindowCounterRateLimiter(MemoryStorage())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Rates":
        """Return the settings of the environment."""
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
            remedy = f"Send the request again in {seconds} s; {RATES_VARIABLE} on the server sets the allowed rate."
            raise Refused(429, "TOO_MANY_REQUESTS", reason, remedy, retry_after=seconds)


def _kind(scope: Scope) -> str:
    if scope["path"].startswith("/infer/"):
        return "infer"
    return "upload" if is_upload(scope) else "rest"
