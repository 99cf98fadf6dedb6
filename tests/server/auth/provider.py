"""An OIDC provider in this process: a real HTTP server with adjustable keys, tokens and faults."""

import base64
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PASSWORDS = {"olga": "a long password"}
CLIENT = "monailabel-app"


class LocalProvider:
    """A provider on a free port; it publishes `keys`, and `requested` counts the requests per path."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = dict(KEYS)
        self.requested: dict[str, int] = {}
        self.away = False
        self.life_s = 300.0
        handler = type("Handler", (_Handler,), {"provider": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}/realms/hospital"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a valid token, with changes; the value None removes a claim."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": "account", "azp": CLIENT, "sub": "1", "iat": now, "nbf": now}
        claims |= {"exp": now + 300, "preferred_username": "olga", "realm_access": {"roles": ["monailabel-annotator"]}}
        return {key: value for key, value in (claims | changes).items() if value is not None}

    def token(
        self, kid: str = "rsa-1", key: Any = None, headers: Mapping[str, Any] | None = None, **claims: Any
    ) -> str:
        """Return a signed token; `key` may differ from the key with that id."""
        key = key or self.keys[kid]
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(self.claims(**claims), key, algorithm, {"kid": kid, **(headers or {})})

    def jwks(self) -> dict[str, Any]:
        algorithms = {
            rsa.RSAPrivateKey: RSAAlgorithm,
            ec.EllipticCurvePrivateKey: ECAlgorithm,
        }
        found = []
        for kid, key in self.keys.items():
            made = next(each for kind, each in algorithms.items() if isinstance(key, kind))
            found.append(json.loads(made.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"})
        return {"keys": found}

    def answer(self, path: str, fields: Mapping[str, str]) -> tuple[int, Any]:
        base = self.issuer
        if self.away:
            return 503, {}
        if path.endswith("/.well-known/openid-configuration"):
            return 200, {"issuer": base, "jwks_uri": f"{base}/certs", "token_endpoint": f"{base}/token"}
        if path.endswith("/certs"):
            return 200, self.jwks()
        grants = {"password": self._password, "refresh_token": self._refresh}
        return grants[fields["grant_type"]](fields)

    def _password(self, fields: Mapping[str, str]) -> tuple[int, Any]:
        if fields["client_id"] != CLIENT or PASSWORDS.get(fields["username"]) != fields["password"]:
            return 401, {"error": "invalid_grant"}
        return 200, self._tokens(fields["username"])

    def _refresh(self, fields: Mapping[str, str]) -> tuple[int, Any]:
        name = fields["refresh_token"].removeprefix("again-")
        return (200, self._tokens(name)) if name in PASSWORDS else (400, {"error": "invalid_grant"})

    def _tokens(self, name: str) -> dict[str, Any]:
        token = self.token(preferred_username=name, exp=int(time.time() + self.life_s))
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.life_s,
            "refresh_token": f"again-{name}",
        }


class _Handler(BaseHTTPRequestHandler):
    provider: LocalProvider

    def do_GET(self) -> None:
        self._reply({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self._reply({key: values[0] for key, values in parse_qs(body).items()})

    def _reply(self, fields: Mapping[str, str]) -> None:
        last = self.path.rsplit("/", 1)[-1]
        self.provider.requested[last] = self.provider.requested.get(last, 0) + 1
        status, body = self.provider.answer(self.path, fields)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


def unsigned(claims: Mapping[str, Any], header: Mapping[str, Any], signature: bytes = b"") -> str:
    """Return a token assembled by hand, which a library would refuse to make."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


KEYS = {"rsa-1": _rsa(), "ec-1": ec.generate_private_key(ec.SECP256R1())}
another_key = _rsa()
