"""An OIDC provider's description and public keys, asked for seldom and kept while it is away."""

import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import requests
from jwt import PyJWK, PyJWKClient
from jwt.exceptions import PyJWKError, PyJWTError

from lib.server.auth.access import is_loopback
from lib.server.auth.denied import Denied

logger = logging.getLogger(__name__)

LIFE_S = 300.0
PAUSE_S = 10.0
"""The least time between two questions to the provider, whatever tokens come: of unknown keys, or while it is away."""
MAX_KEYS = 32
ASYMMETRIC = ("RSA", "EC", "OKP")


class ProviderAway(Denied):
    """Raised where the provider does not answer as one.

    Args:
        why: What it did instead.
    """

    def __init__(self, why: str) -> None:
        remedy = "Try again soon; the admin sees to it that the provider runs at MONAI_LABEL_AUTH_REALM_URI."
        reason = f"The sign-in provider did not do its part: {why}."
        super().__init__(503, "PROVIDER_AWAY", reason, remedy, retry_after=int(PAUSE_S))


class Keys:
    """The provider's signing keys by their ids; the last ones known stay good while it is away.

    Args:
        issuer: The realm's address, which is its issuer too.
        timeout_s: How long one answer may take.
        clock: The time, in seconds.
    """

    def __init__(self, issuer: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer, self._timeout_s, self._clock = issuer, timeout_s, clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched = self._asked = -float("inf")
        self._lock = anyio.Lock()

    async def find(self, kid: str) -> PyJWK | None:
        """Return the key of an id, None if the provider has no such key.

        Raises:
            ProviderAway: If no key is known yet and it does not answer.
        """
        if self._must_ask(kid) and not (kid in self._keys and self._lock.locked()):
            async with self._lock:
                if self._must_ask(kid):
                    await self._ask()
        if not self._keys:
            raise ProviderAway("its keys are not known yet")
        return self._keys.get(kid)

    def endpoint(self) -> str:
        """Return where the provider gives tokens; waits for it.

        Raises:
            ProviderAway: If it does not answer, or as another.
        """
        return self._described()["token_endpoint"]

    def _must_ask(self, kid: str) -> bool:
        now = self._clock()
        old = kid not in self._keys or now - self._fetched > LIFE_S
        return old and now - self._asked > PAUSE_S

    async def _ask(self) -> None:
        self._asked = self._clock()
        try:
            # A thread of its own kind: the framework's are taken by whoever waits for the device.
            self._keys = await anyio.to_thread.run_sync(self._fetch, limiter=anyio.CapacityLimiter(1))
            self._fetched = self._clock()
        except ProviderAway as away:
            logger.warning("%s %d keys are kept", away.body["reason"], len(self._keys))

    def _fetch(self) -> dict[str, PyJWK]:
        try:
            client = PyJWKClient(self._described()["jwks_uri"], cache_jwk_set=False, timeout=self._timeout_s)
            found = client.get_signing_keys()[:MAX_KEYS]
        except (PyJWTError, PyJWKError, ValueError) as error:
            raise ProviderAway(f"its keys cannot be read ({error})") from None
        return {str(key.key_id): key for key in found if key.key_type in ASYMMETRIC}

    def _described(self) -> dict[str, Any]:
        try:
            url = f"{self.issuer}/.well-known/openid-configuration"
            answer = requests.get(url, timeout=self._timeout_s, allow_redirects=False)
            told = answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError) as error:
            raise ProviderAway(f"no description at {self.issuer} ({type(error).__name__})") from None
        if not isinstance(told, dict) or str(told.get("issuer", "")).rstrip("/") != self.issuer:
            raise ProviderAway(f"{self.issuer} does not describe itself as that issuer")
        for each in ("jwks_uri", "token_endpoint"):
            check_address(str(told.get(each, "")))
        return told


def check_address(url: str) -> None:
    """Refuse an address over which somebody between could hand out keys of their own.

    Raises:
        ProviderAway: If it is neither https nor of this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ProviderAway(f"{url!r} is not https")
