"""The authority of an OIDC provider: the provider issues tokens, this module verifies them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import jwt
import requests

from lib.server.auth.access_denied import AccessDenied, not_signed_in
from lib.server.auth.authority import run_in_thread, wrong_password
from lib.server.auth.keys import Keys, ProviderAway, check_address
from lib.server.auth.roles import Identity, Role
from lib.server.auth.sessions import Session, Sessions

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric signatures only: with HS256 the public key could serve as the secret, and "none" has no signature."""
LEEWAY_S = 30
MAX_TOKEN = 12 * 1024
MAX_NAME = 200


@dataclass(frozen=True)
class Realm:
    """An OIDC realm and how its tokens name the user and the roles.

    Args:
        uri: Address of the realm, which is also the issuer of its tokens.
        client: Client id of this application.
        audience: Audience that ``aud`` must contain; if empty, ``aud`` or ``azp`` must contain the client id.
        name_claim: Name of the claim with the user's name.
        roles_path: Path of the claim with the roles; nested claims are separated by ``#``.
        roles: Role by the provider's name of it.
        timeout_s: Timeout of one request to the provider, in seconds.
    """

    uri: str
    client: str
    audience: str = ""
    name_claim: str = "preferred_username"
    roles_path: str = "realm_access#roles"
    roles: Mapping[str, Role] = field(default_factory=dict)
    timeout_s: float = 5.0


class OidcAuthority:
    """The authority that verifies the signatures of an OIDC provider.

    Args:
        realm: The provider's realm.
        keys: The provider's keys; fetched from the realm if not given.
    """

    enabled = True

    def __init__(self, realm: Realm, keys: Keys | None = None) -> None:
        check_address(realm.uri)
        self.realm, self.sessions = realm, Sessions()
        self._refreshing = anyio.Lock()
        self.keys = keys or Keys(realm.uri.rstrip("/"), realm.timeout_s)

    def describe(self) -> dict[str, Any]:
        """Return what viewers need to know before sign-in."""
        return {"enabled": True, "client_id": self.realm.client, "realm": self.realm.uri}

    async def issue_token(self, name: str, password: str) -> dict[str, Any]:
        """Return the provider's token for a name and password, in the format of MONAI Label's viewers."""
        fields = {"grant_type": "password", "username": name, "password": password}
        tokens = await run_in_thread(self._request_tokens, fields)
        return {"access_token": tokens["access_token"], "token_type": "bearer", "expires_in": tokens.get("expires_in")}

    async def open_session(self, name: str, password: str) -> str:
        """Open a browser session and return its secret; the provider's tokens stay on the server."""
        fields = {"grant_type": "password", "username": name, "password": password}
        tokens = await run_in_thread(self._request_tokens, fields)
        user = await self.identify_bearer(tokens["access_token"])
        return self.sessions.open(Session(user.name, tokens["access_token"], str(tokens.get("refresh_token") or "")))

    async def identify_session(self, secret: str) -> Identity:
        """Return the user of a browser session; an expired access token is refreshed at the provider."""
        session = self.sessions.find(secret)
        if session is None:
            raise not_signed_in("SESSION_OVER", "The session has ended.")
        try:
            return await self.identify_bearer(session.credential)
        except AccessDenied as error:
            if error.body["code"] != "TOKEN_EXPIRED" or not session.refresh_token:
                raise
        return await self.identify_bearer(await self._refreshed_token(secret, session))

    async def identify_bearer(self, token: str) -> Identity:
        """Return the user of a token.

        Raises:
            AccessDenied: 401 if the token has another issuer or application or is not valid now; 503 if the provider's
                keys are not known.
        """
        claims = await self._claims(token)
        name = claims.get(self.realm.name_claim)
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise not_signed_in("BAD_TOKEN", f"The token has no user name in {self.realm.name_claim!r}.")
        return Identity(name, self._role(claims))

    def sign_out(self, secret: str) -> None:
        """End a browser session."""
        self.sessions.close(secret)

    async def _refreshed_token(self, secret: str, expired: Session) -> str:
        # A viewer sends many requests at once, and a provider may accept each refresh token only once.
        async with self._refreshing:
            session = self.sessions.find(secret) or expired
            if session.credential != expired.credential:
                return session.credential
            fields = {"grant_type": "refresh_token", "refresh_token": session.refresh_token}
            tokens = await run_in_thread(self._request_tokens, fields)
            refresh_token = str(tokens.get("refresh_token") or session.refresh_token)
            self.sessions.replace(secret, Session(session.name, tokens["access_token"], refresh_token))
            return tokens["access_token"]

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN:
            raise not_signed_in("BAD_TOKEN", "The token is too large.")
        try:
            header = jwt.get_unverified_header(token)
            # Checked before a key is looked up. A key or key address inside the token is always ignored.
            if header.get("alg") not in ALGORITHMS:
                raise not_signed_in("BAD_TOKEN", "The token's signature algorithm is not accepted.")
            key = await self.keys.find(str(header.get("kid", "")))
            if key is None:
                raise not_signed_in("BAD_TOKEN", "The token is not signed with a key of the provider.")
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
            raise not_signed_in("TOKEN_EXPIRED", "The token has expired.") from None
        except jwt.InvalidTokenError as error:
            raise not_signed_in("BAD_TOKEN", f"The token is not accepted ({type(error).__name__}).") from None
        if not self.realm.audience and not self._names_client(claims):
            raise not_signed_in("BAD_TOKEN", "The token is for another application.")
        return claims

    def _names_client(self, claims: Mapping[str, Any]) -> bool:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        return self.realm.client in (*audiences, claims.get("azp"))

    def _role(self, claims: Mapping[str, Any]) -> Role:
        found: Any = claims
        for part in self.realm.roles_path.split("#"):
            found = found.get(part) if isinstance(found, Mapping) else None
        names, none = found if isinstance(found, list) else [], Role.SIGNED_IN
        return max((self.realm.roles.get(name, none) for name in names if isinstance(name, str)), default=none)

    def _request_tokens(self, fields: Mapping[str, str]) -> dict[str, Any]:
        """Return the answer of the provider's token endpoint; blocks until the provider answers."""
        try:
            data = {"client_id": self.realm.client, **fields}
            answer = requests.post(self.keys.endpoint(), data=data, timeout=self.realm.timeout_s, allow_redirects=False)
            tokens = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise ProviderAway(f"the request for a token failed ({type(error).__name__})") from None
        if answer.status_code in (400, 401):
            raise wrong_password() if "password" in fields else not_signed_in("SESSION_OVER", "The session has ended.")
        if answer.status_code != 200 or not isinstance(tokens, dict) or not isinstance(tokens.get("access_token"), str):
            raise ProviderAway(f"the request for a token was answered with status {answer.status_code} and no token")
        return tokens
