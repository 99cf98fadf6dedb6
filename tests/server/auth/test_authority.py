"""The authority of a users file: events that end a session, and the effect of a broken file."""

import asyncio
from pathlib import Path

import pytest

from lib.server.auth.access_denied import AccessDenied
from lib.server.auth.authority import LocalUsersAuthority, NoAuthAuthority
from lib.server.auth.roles import Identity, Role
from lib.server.auth.users import UsersFile, add_user, remove_user
from tests.server.auth.conftest import PASSWORD


def code(call: object) -> str:
    """Return the error code with which a coroutine is refused."""
    with pytest.raises(AccessDenied) as caught:
        asyncio.run(call)  # type: ignore[arg-type]
    return caught.value.body["code"]


def test_a_session_has_the_current_role_of_the_users_file(users_file: Path) -> None:
    authority = LocalUsersAuthority(UsersFile(users_file))
    secret = asyncio.run(authority.open_session("user", PASSWORD))
    assert asyncio.run(authority.identify_session(secret)) == Identity("user", Role.USER)
    text = users_file.read_text()
    users_file.write_text(text.replace('role = "user"', 'role = "reviewer"'))
    assert asyncio.run(authority.identify_session(secret)).role is Role.REVIEWER


@pytest.mark.parametrize("how", ["removed", "removed and added again", "new password", "signed out"])
def test_events_that_end_a_session_at_once(users_file: Path, how: str) -> None:
    authority = LocalUsersAuthority(UsersFile(users_file))
    secret = asyncio.run(authority.issue_token("admin", PASSWORD))["access_token"]
    assert asyncio.run(authority.identify_bearer(secret)).role is Role.ADMIN
    if how.startswith("removed"):
        remove_user(users_file, "admin")
    if how in ("removed and added again", "new password"):
        add_user(users_file, "admin", PASSWORD if "added" in how else "something else", "admin")
    if how == "signed out":
        authority.sign_out(secret)
    assert code(authority.identify_bearer(secret)) == "SESSION_OVER"


@pytest.mark.parametrize(("name", "password"), [("admin", "x"), ("unknown", PASSWORD), ("", ""), ("admin", "")])
def test_the_refusal_does_not_reveal_whether_name_or_password_is_wrong(
    users_file: Path, name: str, password: str
) -> None:
    assert code(LocalUsersAuthority(UsersFile(users_file)).open_session(name, password)) == "WRONG_PASSWORD"


def test_the_fault_of_a_users_file_is_only_in_the_log(users_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = LocalUsersAuthority(UsersFile(users_file))
    secret = asyncio.run(authority.open_session("admin", PASSWORD))
    users_file.chmod(0o644)
    users_file.write_text(users_file.read_text())
    with pytest.raises(AccessDenied) as caught:
        asyncio.run(authority.identify_bearer(secret))
    assert caught.value.status == 503 and str(users_file) not in str(caught.value.body)
    assert "chmod 600" in caplog.text


def test_without_sign_in_every_user_is_admin() -> None:
    authority = NoAuthAuthority()
    assert asyncio.run(authority.identify_bearer("anything")) == Identity("admin", Role.ADMIN)
    assert asyncio.run(authority.issue_token("a", "b")) == {"access_token": None, "token_type": None}
    assert authority.describe()["enabled"] is False
