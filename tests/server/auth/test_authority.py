"""Local users: what ends a session, and what a broken file does."""

import asyncio
from pathlib import Path

import pytest

from lib.server.auth.authority import Everybody, LocalUsers
from lib.server.auth.denied import Denied
from lib.server.auth.roles import Identity, Role
from lib.server.auth.users import UsersFile, add_user, remove_user
from tests.server.auth.conftest import PASSWORD


def code(call: object) -> str:
    """Return the code of what a coroutine is refused with."""
    with pytest.raises(Denied) as caught:
        asyncio.run(call)  # type: ignore[arg-type]
    return caught.value.body["code"]


def test_a_session_has_the_role_of_the_file_now(users_file: Path) -> None:
    authority = LocalUsers(UsersFile(users_file))
    secret = asyncio.run(authority.open("user", PASSWORD))
    assert asyncio.run(authority.session(secret)) == Identity("user", Role.USER)
    text = users_file.read_text()
    users_file.write_text(text.replace('role = "user"', 'role = "reviewer"'))
    assert asyncio.run(authority.session(secret)).role is Role.REVIEWER


@pytest.mark.parametrize("how", ["removed", "removed and added again", "new password", "signed out"])
def test_what_ends_a_session_at_once(users_file: Path, how: str) -> None:
    authority = LocalUsers(UsersFile(users_file))
    secret = asyncio.run(authority.grant("admin", PASSWORD))["access_token"]
    assert asyncio.run(authority.bearer(secret)).role is Role.ADMIN
    if how.startswith("removed"):
        remove_user(users_file, "admin")
    if how in ("removed and added again", "new password"):
        add_user(users_file, "admin", PASSWORD if "added" in how else "something else", "admin")
    if how == "signed out":
        authority.sign_out(secret)
    assert code(authority.bearer(secret)) == "SESSION_OVER"


@pytest.mark.parametrize(("name", "password"), [("admin", "x"), ("nobody", PASSWORD), ("", ""), ("admin", "")])
def test_the_refusal_does_not_say_which_is_wrong(users_file: Path, name: str, password: str) -> None:
    assert code(LocalUsers(UsersFile(users_file)).open(name, password)) == "WRONG_PASSWORD"


def test_a_broken_file_is_told_to_the_log_only(users_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = LocalUsers(UsersFile(users_file))
    secret = asyncio.run(authority.open("admin", PASSWORD))
    users_file.chmod(0o644)
    users_file.write_text(users_file.read_text())
    with pytest.raises(Denied) as caught:
        asyncio.run(authority.bearer(secret))
    assert caught.value.status == 503 and str(users_file) not in str(caught.value.body)
    assert "chmod 600" in caplog.text


def test_everybody_is_the_admin_without_a_token() -> None:
    everybody = Everybody()
    assert asyncio.run(everybody.bearer("anything")) == Identity("admin", Role.ADMIN)
    assert asyncio.run(everybody.grant("a", "b")) == {"access_token": None, "token_type": None}
    assert everybody.describe()["enabled"] is False
