"""Sessions begin, last, end, and forms carry their browser's token."""

import pytest

from lib.server.auth.sessions import MAX_PER_NAME, Session, Sessions, form_is_ours, form_token


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_session_lasts_its_life_and_no_longer(clock: Clock) -> None:
    sessions = Sessions(life_s=10, clock=clock)
    secret = sessions.open(Session("anna", "stamp"))
    clock.now = 9.9
    assert sessions.find(secret) == Session("anna", "stamp")
    clock.now = 10
    assert sessions.find(secret) is None


def test_a_session_that_is_renewed_ends_when_it_would_have(clock: Clock) -> None:
    sessions = Sessions(life_s=10, clock=clock)
    secret = sessions.open(Session("anna", "old"))
    clock.now = 5
    sessions.renew(secret, Session("anna", "new"))
    assert sessions.find(secret) == Session("anna", "new")
    clock.now = 10
    assert sessions.find(secret) is None
    sessions.close(secret)
    sessions.renew(secret, Session("anna", "new"))
    assert sessions.find(secret) is None, "a closed session is not opened by its renewal"


def test_secrets_are_long_differ_and_are_not_kept(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    secrets = {sessions.open(Session("anna", "")) for _ in range(20)}
    assert len(secrets) == 20 and min(map(len, secrets)) >= 43
    assert not any(secret in repr(vars(sessions)) for secret in secrets)


def test_the_oldest_of_too_many_ends_and_others_stay(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    other = sessions.open(Session("ben", ""))
    first, *rest = [sessions.open(Session("anna", "")) for _ in range(MAX_PER_NAME + 1)]
    assert sessions.find(first) is None and sessions.find(other)
    assert all(sessions.find(secret) for secret in rest)


def test_what_is_over_is_forgotten(clock: Clock) -> None:
    sessions = Sessions(life_s=1, clock=clock)
    for name in map(str, range(100)):
        clock.now += 1
        sessions.open(Session(name, ""))
    assert len(sessions._open) <= 2


@pytest.mark.parametrize(("seed", "sent", "ours"), [("a", "a", True), ("a", "b", False), ("", "a", False)])
def test_a_form_is_of_its_browser(seed: str, sent: str, ours: bool) -> None:
    assert form_is_ours(seed, form_token(sent)) is ours


@pytest.mark.parametrize("sent", ["", "x", "ü" * 64])
def test_no_token_is_no_form_of_ours(sent: str) -> None:
    assert not form_is_ours("", sent)
