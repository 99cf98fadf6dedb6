"""The lifetime of sessions and the tokens of forms."""

import pytest

from lib.server.auth.sessions import MAX_PER_NAME, Session, Sessions, form_token, is_valid_form_token


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_session_expires_after_its_lifetime(clock: Clock) -> None:
    sessions = Sessions(life_s=10, clock=clock)
    secret = sessions.open(Session("anna", "stamp"))
    clock.now = 9.9
    assert sessions.find(secret) == Session("anna", "stamp")
    clock.now = 10
    assert sessions.find(secret) is None


def test_a_replaced_session_keeps_its_time_of_expiry(clock: Clock) -> None:
    sessions = Sessions(life_s=10, clock=clock)
    secret = sessions.open(Session("anna", "old"))
    clock.now = 5
    sessions.replace(secret, Session("anna", "new"))
    assert sessions.find(secret) == Session("anna", "new")
    clock.now = 10
    assert sessions.find(secret) is None
    sessions.close(secret)
    sessions.replace(secret, Session("anna", "new"))
    assert sessions.find(secret) is None, "a closed session cannot be replaced"


def test_secrets_are_long_distinct_and_not_stored(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    secrets = {sessions.open(Session("anna", "")) for _ in range(20)}
    assert len(secrets) == 20 and min(map(len, secrets)) >= 43
    assert not any(secret in repr(vars(sessions)) for secret in secrets)


def test_the_oldest_of_too_many_sessions_ends(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    other = sessions.open(Session("ben", ""))
    first, *rest = [sessions.open(Session("anna", "")) for _ in range(MAX_PER_NAME + 1)]
    assert sessions.find(first) is None and sessions.find(other)
    assert all(sessions.find(secret) for secret in rest)


def test_expired_sessions_are_removed(clock: Clock) -> None:
    sessions = Sessions(life_s=1, clock=clock)
    for name in map(str, range(100)):
        clock.now += 1
        sessions.open(Session(name, ""))
    assert len(sessions._open) <= 2


@pytest.mark.parametrize(("seed", "sent", "valid"), [("a", "a", True), ("a", "b", False), ("", "a", False)])
def test_a_form_token_belongs_to_its_browser(seed: str, sent: str, valid: bool) -> None:
    assert is_valid_form_token(seed, form_token(sent)) is valid


@pytest.mark.parametrize("sent", ["", "x", "ü" * 64])
def test_an_empty_form_token_is_invalid(sent: str) -> None:
    assert not is_valid_form_token("", sent)
