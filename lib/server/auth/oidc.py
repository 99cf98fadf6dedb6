"""Tokens of an OIDC provider: verified here, given out there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import jwt
import requests

from lib.server.auth.authority import in_thread, wrong_password
from lib.server.auth.denied import Denied, not_signed_in
from lib.server.auth.keys import Keys, ProviderAway, check_address
from lib.server.auth.roles import Identity, Role
from lib.server.auth.sessions import Session, Sessions

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures only. A shared secret could be forged by whoever knows the public key, and "none" by everybody."""
LEEWAY_S = 30
MAX_TOKEN = 12 * 1024
MAX_NAME = 200


@dataclass(frozen=True)
class Realm:
    """A provider, and how its tokens tell who somebody is.

    Args:
        uri: The realm's address, its issuer.
        client: Id of this application there.
        audience: What ``aud`` must hold; empty: the client's id in ``aud`` or ``azp``.
        name_claim: The claim with the user's name.
        roles_path: Where the roles are, one claim inside the other with ``#`` between.
        roles: What the provider calls each role.
        timeout_s: How long one answer of the provider may take.
    """

    uri: str
    client: str
    audience: str = ""
    name_claim: str = "preferred_username"
    roles_path: str = "realm_access#roles"
    roles: Mapping[str, Role] = field(default_factory=dict)
    timeout_s: float = 5.0


class Provider:
    """An authority that believes the provider's signatures.

    Args:
        realm: The provider.
        keys: Its keys; the realm's own if not given.
    """

    enabled = True

    def __init__(self, realm: Realm, keys: Keys | None = None) -> None:
        check_address(realm.uri)
        self.realm, self.sessions = realm, Sessions()
        self._renewing = anyio.Lock()
        self.keys = keys or Keys(realm.uri.rstrip("/"), realm.timeout_s)

    def describe(self) -> dict[str, Any]:
        """Return what viewers ask before they sign in."""
        return {"enabled": True, "client_id": self.realm.client, "realm": self.realm.uri}

    async def grant(self, name: str, password: str) -> dict[str, Any]:
        """Return the provider's answer to a name and password, as MONAI Label's viewers want it."""
        told = await in_thread(self._ask, {"grant_type": "password", "username": name, "password": password})
        return {"access_token": told["access_token"], "token_type": "bearer", "expires_in": told.get("expires_in")}

    async def open(self, name: str, password: str) -> str:
        """Begin a browser's session and return its secret; the provider's tokens stay here."""
        told = await in_thread(self._ask, {"grant_type": "password", "username": name, "password": password})
        known = await self.bearer(told["access_token"])
        return self.sessions.open(Session(known.name, told["access_token"], str(told.get("refresh_token") or "")))

    async def session(self, secret: str) -> Identity:
        """Return who a browser's session is of, by a token that the provider gives anew when the last one is over."""
        session = self.sessions.find(secret)
        if session is None:
            raise not_signed_in("SESSION_OVER", "The session is over.")
        try:
            return await self.bearer(session.stamp)
        except Denied as denied:
            if denied.body["code"] != "TOKEN_EXPIRED" or not session.renewal:
                raise
        return await self.bearer(await self._renewed(secret, session))

    async def bearer(self, token: str) -> Identity:
        """Return who a token is of.

        Raises:
            Denied: 401 if it is not the provider's, not for this application, or not now; 503 if nobody can tell.
        """
        claims = await self._claims(token)
        name = claims.get(self.realm.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise not_signed_in("BAD_TOKEN", f"The token names nobody in {self.realm.name_claim!r}.")
        return Identity(name, self._role(claims))

    def sign_out(self, secret: str) -> None:
        """End a browser's session."""
        self.sessions.close(secret)

    async def _renewed(self, secret: str, over: Session) -> str:
        # A viewer asks for many things at once, and a provider may take each renewal once only.
        async with self._renewing:
            session = self.sessions.find(secret) or over
            if session.stamp != over.stamp:
                return session.stamp
            told = await in_thread(self._ask, {"grant_type": "refresh_token", "refresh_token": session.renewal})
            renewal = str(told.get("refresh_token") or session.renewal)
            self.sessions.renew(secret, Session(session.name, told["access_token"], renewal))
            return told["access_token"]

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN:
            raise not_signed_in("BAD_TOKEN", "The token is too large.")
        try:
            header = jwt.get_unverified_header(token)
            # Before any key is looked for. A key or an address of keys in the token itself is never looked at.
            if header.get("alg") not in ALGORITHMS:
                raise not_signed_in("BAD_TOKEN", "The token is not signed in a way that is accepted here.")
            key = await self.keys.find(str(header.get("kid", "")))
            if key is None:
                raise not_signed_in("BAD_TOKEN", "The token is signed with no key of the provider.")
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self.keys.issuer,
                audience=self.realm.audience or None,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss"], "verify_aud": bool(self.realm.audience)},
            )
        except jwt.ExpiredSignatureError:
            raise not_signed_in("TOKEN_EXPIRED", "The token is over.") from None
        except jwt.InvalidTokenError as error:
            raise not_signed_in("BAD_TOKEN", f"The token is not accepted ({type(error).__name__}).") from None
        if not self.realm.audience and not self._is_for_us(claims):
            raise not_signed_in("BAD_TOKEN", "The token is for another application.")
        return claims

    def _is_for_us(self, claims: Mapping[str, Any]) -> bool:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        return self.realm.client in (*audiences, claims.get("azp"))

    def _role(self, claims: Mapping[str, Any]) -> Role:
        found: Any = claims
        for part in self.realm.roles_path.split("#"):
            found = found.get(part) if isinstance(found, Mapping) else None
        named, none = found if isinstance(found, list) else [], Role.SIGNED_IN
        return max((self.realm.roles.get(each, none) for each in named if isinstance(each, str)), default=none)

    def _ask(self, fields: Mapping[str, str]) -> dict[str, Any]:
        """Ask the provider for a token; waits for it."""
        try:
            data = {"client_id": self.realm.client, **fields}
            answer = requests.post(self.keys.endpoint(), data=data, timeout=self.realm.timeout_s, allow_redirects=False)
            told = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise ProviderAway(f"it gave no token ({type(error).__name__})") from None
        if answer.status_code in (400, 401):
            raise wrong_password() if "password" in fields else not_signed_in("SESSION_OVER", "The session is over.")
        if answer.status_code != 200 or not isinstance(told, dict) or not isinstance(told.get("access_token"), str):
            raise ProviderAway(f"it answered a request for a token with {answer.status_code}")
        return told
