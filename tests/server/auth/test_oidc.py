"""Tokens of a real provider in this process: which are accepted and which are refused."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import HMACAlgorithm, RSAAlgorithm
from starlette.testclient import TestClient

from lib.server.auth.access_denied import AccessDenied
from lib.server.auth.keys import ProviderAway
from lib.server.auth.oidc import LEEWAY_S, MAX_TOKEN, OidcAuthority, Realm
from lib.server.auth.roles import Identity, Role
from tests.server.auth.conftest import sign_in
from tests.server.auth.provider import CLIENT, LocalProvider, another_key, unsigned

NAMES = {f"monailabel-{role.name.lower()}": role for role in (Role.USER, Role.ANNOTATOR, Role.REVIEWER, Role.ADMIN)}


def realm(provider: LocalProvider, **options: Any) -> OidcAuthority:
    return OidcAuthority(Realm(provider.issuer, CLIENT, roles=NAMES, timeout_s=2, **options))


@pytest.fixture
def client(provider: LocalProvider, gated: Callable[..., TestClient]) -> TestClient:
    return gated(realm(provider))


def ask(client: TestClient, token: str) -> Any:
    return client.get("/info/", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1"])
def test_valid_tokens_are_accepted(client: TestClient, provider: LocalProvider, kid: str) -> None:
    answer = ask(client, provider.token(kid))
    assert answer.status_code == 200 and answer.json()["username"] == "olga"
    assert answer.json()["roles"] == ["monailabel-user", "monailabel-annotator"]


def public_key(provider: LocalProvider) -> bytes:
    kind, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return provider.keys["rsa-1"].public_key().public_bytes(kind, form)


def by_shared_secret(provider: LocalProvider) -> str:
    """Return a token signed by HS256 with the public key as secret; the library itself refuses to make one."""
    algorithm = HMACAlgorithm(HMACAlgorithm.SHA256)
    header, claims, _ = unsigned(provider.claims(), {"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}).split(".")
    signature = hmac.new(public_key(provider), f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert algorithm.verify(f"{header}.{claims}".encode(), public_key(provider), signature)
    return f"{header}.{claims}.{unsigned({}, {}, signature).split('.')[2]}"


def tampered(provider: LocalProvider) -> str:
    """Return a token with the claims of an admin and the signature of another token."""
    header, _, signature = provider.token().split(".")
    admin = provider.claims(realm_access={"roles": ["monailabel-admin"]})
    return f"{header}.{unsigned(admin, {}).split('.')[1]}.{signature}"


def own_jwk(provider: LocalProvider) -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(another_key.public_key(), as_dict=True)


NOW = int(time.time())
FORGERIES: dict[str, Callable[[LocalProvider], str]] = {
    "another key": lambda p: p.token(key=another_key),
    "another key, of another kind": lambda p: p.token(key=ec.generate_private_key(ec.SECP256R1())),
    "none": lambda p: unsigned(p.claims(), {"alg": "none", "kid": "rsa-1"}),
    "None": lambda p: unsigned(p.claims(), {"alg": "None", "kid": "rsa-1"}),
    "nOnE with a signature": lambda p: unsigned(p.claims(), {"alg": "nOnE", "kid": "rsa-1"}, b"x"),
    "no alg": lambda p: unsigned(p.claims(), {"kid": "rsa-1"}),
    "alg is a list": lambda p: unsigned(p.claims(), {"alg": ["RS256"], "kid": "rsa-1"}),
    "HS256 with the public key": by_shared_secret,
    "RS256 without a signature": lambda p: unsigned(p.claims(), {"alg": "RS256", "kid": "rsa-1"}),
    "claims exchanged": tampered,
    "no kid": lambda p: jwt.encode(p.claims(), p.keys["rsa-1"], "RS256"),
    "kid is a number": lambda p: unsigned(p.claims(), {"alg": "RS256", "kid": 1}),
    "kid is a path": lambda p: p.token(headers={"kid": "../../../dev/null"}),
    "unknown kid": lambda p: p.token(headers={"kid": "rsa-2"}),
    "kid of another's key": lambda p: p.token(key=another_key, headers={"kid": "mine"}),
    "jku": lambda p: p.token(key=another_key, headers={"jku": "http://evil.example/certs"}),
    "x5u": lambda p: p.token(key=another_key, headers={"x5u": "http://evil.example/cert"}),
    "jwk": lambda p: p.token(key=another_key, headers={"jwk": own_jwk(p)}),
    "x5c": lambda p: p.token(key=another_key, headers={"x5c": ["MIIB"]}),
    "unknown critical header": lambda p: p.token(headers={"crit": ["paid"], "paid": True}),
    "over": lambda p: p.token(exp=NOW - LEEWAY_S - 60),
    "no exp": lambda p: p.token(exp=None),
    "exp is no number": lambda p: p.token(exp="tomorrow"),
    "not yet": lambda p: p.token(nbf=NOW + 3600),
    "of the future": lambda p: p.token(iat=NOW + 3600),
    "no iat": lambda p: p.token(iat=None),
    "another issuer": lambda p: p.token(iss="http://evil.example/realms/hospital"),
    "no issuer": lambda p: p.token(iss=None),
    "issuer is a list": lambda p: unsigned(p.claims(iss=[p.issuer]), {"alg": "RS256", "kid": "rsa-1"}),
    "for another application": lambda p: p.token(azp="billing", aud=["billing"]),
    "for no client": lambda p: p.token(azp=None, aud=None),
    "names no user": lambda p: p.token(preferred_username=None),
    "name is a list": lambda p: p.token(preferred_username=["admin"]),
    "name with a line end": lambda p: p.token(preferred_username="olga\nadmin"),
    "name too long": lambda p: p.token(preferred_username="o" * 300),
    "huge": lambda p: p.token(padding="x" * (MAX_TOKEN * 3 // 4)),
    "no token": lambda p: "a.b.c",
    "nothing": lambda p: "",
    "five parts": lambda p: "a.b.c.d.e",
    "claims are a list": lambda p: unsigned([], {"alg": "RS256", "kid": "rsa-1"}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_forged_tokens_are_refused(
    client: TestClient, provider: LocalProvider, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    assert ask(client, provider.token()).status_code == 200
    token = FORGERIES[kind](provider)
    answer = ask(client, token)
    assert answer.status_code == 401 and answer.json()["code"] in ("BAD_TOKEN", "TOKEN_EXPIRED"), answer.text
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert answer.json()["code"] in caplog.records[-1].getMessage() and (len(token) < 9 or token not in caplog.text)


@pytest.mark.parametrize(
    "roles",
    [
        None,
        {},
        [],
        "monailabel-admin",
        {"roles": "monailabel-admin"},
        {"roles": {"monailabel-admin": True}},
        {"roles": [["monailabel-admin"], {"a": 1}, None, 7]},
        {"roles": ["admin", "MONAILABEL-ADMIN", "monailabel-admin "]},
        {"roles": None},
        {"Roles": ["monailabel-admin"]},
    ],
)
def test_a_claim_that_is_not_a_list_of_roles_gives_no_role(
    client: TestClient, provider: LocalProvider, caplog: pytest.LogCaptureFixture, roles: Any
) -> None:
    answer = ask(client, provider.token(realm_access=roles))
    assert (answer.status_code, answer.json()["code"]) == (403, "ROLE_NEEDED") and "ROLE_NEEDED" in caplog.text


def test_roles_are_read_from_another_path(provider: LocalProvider) -> None:
    made = realm(provider, roles_path="groups")
    assert asyncio.run(made.identify_bearer(provider.token(groups=["x", "monailabel-reviewer"]))) == Identity(
        "olga", Role.REVIEWER
    )


@pytest.mark.parametrize(
    ("claims", "good"),
    [({"aud": ["a", "topolabel"]}, True), ({"aud": "topolabel"}, True), ({"aud": "account"}, False), ({}, False)],
)
def test_a_required_audience_is_checked(provider: LocalProvider, claims: dict[str, Any], good: bool) -> None:
    made = realm(provider, audience="topolabel")
    if good:
        assert asyncio.run(made.identify_bearer(provider.token(**claims))).name == "olga"
    else:
        with pytest.raises(AccessDenied):
            asyncio.run(made.identify_bearer(provider.token(**claims)))


def test_clocks_may_differ_a_little(client: TestClient, provider: LocalProvider) -> None:
    now = int(time.time())
    assert ask(client, provider.token(iat=now + 10, nbf=now + 10)).status_code == 200
    assert ask(client, provider.token(exp=now - 10)).status_code == 200


def test_the_viewers_way_in(client: TestClient, provider: LocalProvider) -> None:
    assert client.get("/auth/").json() == {"enabled": True, "client_id": CLIENT, "realm": provider.issuer}
    headers = sign_in(client, "olga", "a long password")
    assert client.get("/auth/token/valid", headers=headers).json()["username"] == "olga"
    wrong = client.post("/auth/token", data={"username": "olga", "password": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "WRONG_PASSWORD")


def test_a_browser_session_outlives_the_providers_short_tokens(provider: LocalProvider) -> None:
    made, provider.life_s = realm(provider), -LEEWAY_S + 1.5
    secret = asyncio.run(made.open_session("olga", "a long password"))
    time.sleep(2)
    provider.life_s = 300
    assert asyncio.run(made.identify_session(secret)).name == "olga"
    count = provider.requested["token"]
    assert asyncio.run(made.identify_session(secret)).name == "olga" and provider.requested["token"] == count == 2
    made.sign_out(secret)
    with pytest.raises(AccessDenied, match="SESSION_OVER"):
        asyncio.run(made.identify_session(secret))


def test_parallel_requests_refresh_a_token_once(provider: LocalProvider) -> None:
    made, provider.life_s = realm(provider), -LEEWAY_S + 1.5

    async def all_at_once(secret: str) -> list[Identity]:
        return await asyncio.gather(*(made.identify_session(secret) for _ in range(20)))

    secret = asyncio.run(made.open_session("olga", "a long password"))
    time.sleep(2)
    provider.life_s = 300
    assert {each.name for each in asyncio.run(all_at_once(secret))} == {"olga"}
    assert provider.requested["token"] == 2


def test_a_user_locked_by_the_provider_is_signed_out(provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    made, provider.life_s = realm(provider), -LEEWAY_S + 1.5
    secret = asyncio.run(made.open_session("olga", "a long password"))
    monkeypatch.setattr(provider, "_refresh", lambda fields: (400, {"error": "invalid_grant"}))
    time.sleep(2)
    with pytest.raises(AccessDenied, match="SESSION_OVER"):
        asyncio.run(made.identify_session(secret))


def test_known_keys_are_used_without_the_provider(client: TestClient, provider: LocalProvider) -> None:
    assert ask(client, provider.token()).status_code == 200
    provider.away = True
    assert ask(client, provider.token()).status_code == 200
    answer = client.post("/auth/token", data={"username": "olga", "password": "a long password"})
    assert (answer.status_code, answer.json()["code"]) == (503, "PROVIDER_AWAY") and answer.headers["retry-after"]


@pytest.mark.parametrize("uri", ["http://sso.example.org/realms/lab", "ftp://127.0.0.1/", "file:///etc/passwd", ""])
def test_a_provider_without_https_is_refused(uri: str) -> None:
    with pytest.raises(ProviderAway, match="not https"):
        OidcAuthority(Realm(uri, CLIENT))
