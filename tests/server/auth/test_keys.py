"""The provider's keys: rotated, fetched rarely, and kept while the provider is unavailable."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lib.server.auth.keys import LIFE_S, PAUSE_S, Keys, ProviderAway
from tests.clock import Clock
from tests.server.auth.provider import LocalProvider


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(provider: LocalProvider, clock: Clock) -> Keys:
    return Keys(provider.issuer, 2.0, clock)


def found(keys: Keys, kid: str) -> bool:
    return asyncio.run(keys.find(kid)) is not None


def test_keys_are_rotated(keys: Keys, provider: LocalProvider, clock: Clock) -> None:
    assert found(keys, "rsa-1")
    provider.keys = {"ec-2": ec.generate_private_key(ec.SECP256R1())}
    clock.now += PAUSE_S + 1
    assert found(keys, "ec-2") and not found(keys, "rsa-1"), "the new key is found, the old key is removed"


def test_a_revoked_key_is_removed_after_minutes(keys: Keys, provider: LocalProvider, clock: Clock) -> None:
    assert found(keys, "rsa-1")
    del provider.keys["rsa-1"]
    clock.now += LIFE_S + 1
    assert not found(keys, "rsa-1") and found(keys, "ec-1")


def test_unknown_keys_cause_few_requests_to_the_provider(keys: Keys, provider: LocalProvider, clock: Clock) -> None:
    async def storm() -> None:
        await asyncio.gather(*(keys.find(f"guess-{i}") for i in range(200)))

    asyncio.run(storm())
    assert provider.requested["certs"] == 1
    clock.now += PAUSE_S + 1
    asyncio.run(storm())
    assert provider.requested["certs"] == 2


def test_an_unavailable_provider_is_not_requested_every_time(
    keys: Keys, provider: LocalProvider, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    provider.away = True
    for _ in range(20):
        with pytest.raises(ProviderAway):
            found(keys, "rsa-1")
    assert provider.requested["openid-configuration"] == 1 and "0 keys are kept" in caplog.text
    provider.away = False
    clock.now += PAUSE_S + 1
    assert found(keys, "rsa-1")
    provider.away = True
    clock.now += 10 * LIFE_S
    assert found(keys, "rsa-1"), "known keys stay valid"


@pytest.mark.parametrize(
    "description",
    [
        {"issuer": "http://evil.example"},
        {},
        [],
        "text",
        {"issuer": None, "jwks_uri": "http://evil.example/certs"},
    ],
)
def test_the_metadata_of_another_issuer_is_refused(
    keys: Keys, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, description: object
) -> None:
    monkeypatch.setattr(provider, "answer", lambda path, fields: (200, description))
    with pytest.raises(ProviderAway):
        found(keys, "rsa-1")


@pytest.mark.parametrize("uri", ["http://evil.example/certs", "file:///etc/passwd", "", "//x"])
def test_keys_are_fetched_over_https_or_from_this_machine(
    keys: Keys, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    metadata = {"issuer": provider.issuer, "jwks_uri": uri, "token_endpoint": f"{provider.issuer}/token"}
    monkeypatch.setattr(provider, "answer", lambda path, fields: (200, metadata))
    with pytest.raises(ProviderAway):
        found(keys, "rsa-1")


@pytest.mark.parametrize(
    "jwks", [{}, {"keys": []}, {"keys": "x"}, [], {"keys": [{"kty": "oct", "k": "AAAA", "kid": "rsa-1"}]}]
)
def test_shared_secrets_and_invalid_keys_are_ignored(
    keys: Keys, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, jwks: object
) -> None:
    monkeypatch.setattr(provider, "jwks", lambda: jwks)
    with pytest.raises(ProviderAway):
        found(keys, "rsa-1")
