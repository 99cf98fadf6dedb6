"""The metadata and public keys of an OIDC provider, fetched rarely and kept while the provider is unavailable."""

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
from lib.server.auth.access_denied import AccessDenied

logger = logging.getLogger(__name__)

LIFE_S = 300.0
PAUSE_S = 10.0
"""The shortest time between two requests for keys, also for tokens with unknown keys or an unavailable provider."""
MAX_KEYS = 32
ASYMMETRIC = ("RSA", "EC", "OKP")


class ProviderAway(AccessDenied):
    """Raised if the provider does not answer, or its answer is invalid.

    Args:
        why: What failed.
    """

    def __init__(self, why: str) -> None:
        remedy = "Try again later, or ask the admin to check that the provider runs at MONAI_LABEL_AUTH_REALM_URI."
        reason = f"The sign-in provider is not available: {why}."
        super().__init__(503, "PROVIDER_AWAY", reason, remedy, retry_after=int(PAUSE_S))


class Keys:
    """The provider's signing keys by id; the last known keys stay valid while the provider is unavailable.

    Args:
        issuer: Address of the realm, which is also the issuer of its tokens.
        timeout_s: Timeout of one request to the provider, in seconds.
        clock: Returns the time in seconds.
    """

    def __init__(self, issuer: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer, self._timeout_s, self._clock = issuer, timeout_s, clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched = self._requested = -float("inf")
        self._lock = anyio.Lock()

    async def find(self, kid: str) -> PyJWK | None:
        """Return the key with id `kid`, None if the provider has no such key.

        Raises:
            ProviderAway: If no key is known yet and the provider does not answer.
        """
        if self._needs_refresh(kid) and not (kid in self._keys and self._lock.locked()):
            async with self._lock:
                if self._needs_refresh(kid):
                    await self._refresh()
        if not self._keys:
            raise ProviderAway("its keys could not be fetched yet")
        return self._keys.get(kid)

    def endpoint(self) -> str:
        """Return the address of the provider's token endpoint; blocks until the provider answers.

        Raises:
            ProviderAway: If the provider does not answer, or its metadata is invalid.
        """
        return self._read_metadata()["token_endpoint"]

    def _needs_refresh(self, kid: str) -> bool:
        now = self._clock()
        old = kid not in self._keys or now - self._fetched > LIFE_S
        return old and now - self._requested > PAUSE_S

    async def _refresh(self) -> None:
        self._requested = self._clock()
        try:
            # A separate limiter: requests that wait for the device can occupy all threads of the framework.
            self._keys = await anyio.to_thread.run_sync(self._fetch, limiter=anyio.CapacityLimiter(1))
            self._fetched = self._clock()
        except ProviderAway as error:
            logger.warning("%s %d keys are kept", error.body["reason"], len(self._keys))

    def _fetch(self) -> dict[str, PyJWK]:
        try:
            client = PyJWKClient(self._read_metadata()["jwks_uri"], cache_jwk_set=False, timeout=self._timeout_s)
            found = client.get_signing_keys()[:MAX_KEYS]
        except (PyJWTError, PyJWKError, ValueError) as error:
            raise ProviderAway(f"its keys cannot be read ({error})") from None
        return {str(key.key_id): key for key in found if key.key_type in ASYMMETRIC}

    def _read_metadata(self) -> dict[str, Any]:
        try:
            url = f"{self.issuer}/.well-known/openid-configuration"
            answer = requests.get(url, timeout=self._timeout_s, allow_redirects=False)
            metadata = answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError) as error:
            raise ProviderAway(f"no OpenID configuration at {self.issuer} ({type(error).__name__})") from None
        if not isinstance(metadata, dict) or str(metadata.get("issuer", "")).rstrip("/") != self.issuer:
            raise ProviderAway(f"the OpenID configuration at {self.issuer} does not name it as the issuer")
        for key in ("jwks_uri", "token_endpoint"):
            check_address(str(metadata.get(key, "")))
        return metadata


def check_address(url: str) -> None:
    """Refuse an address without TLS: an attacker between could replace the provider's keys.

    Raises:
        ProviderAway: If `url` is neither https nor on this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ProviderAway(f"{url!r} is not https")
