"""The access settings: where they are read from, and which are refused at the start."""

from pathlib import Path

import pytest

from lib.server.auth.access import Access, BadAccess, is_loopback
from lib.server.auth.users import BadUsers


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "lab.example.org"])
def test_a_network_address_needs_sign_in_or_open(host: str) -> None:
    with pytest.raises(BadAccess, match="--users FILE or --oidc URL, or --open"):
        Access().check(host)
    Access(open=True).check(host)
    Access(realm="https://sso.example.org/realms/lab").check(host)
    Access().check("127.0.0.1")


def test_the_users_file_must_be_valid_and_not_empty(tmp_path: Path, users_file: Path) -> None:
    Access(users=str(users_file)).check("0.0.0.0")
    with pytest.raises(BadUsers):
        Access(users=str(tmp_path / "nowhere.toml")).check("127.0.0.1")
    (tmp_path / "empty.toml").touch(0o600)
    with pytest.raises(BadAccess, match="users add"):
        Access(users=str(tmp_path / "empty.toml")).check("127.0.0.1")


def test_a_users_file_and_a_realm_together_are_refused() -> None:
    with pytest.raises(BadAccess, match="not both"):
        Access(users="users.toml", realm="https://sso.example.org")


@pytest.mark.parametrize(
    ("environment", "access"),
    [
        ({}, Access()),
        ({"TOPOLABEL_OPEN": "true"}, Access(open=True)),
        ({"TOPOLABEL_OPEN": "0"}, Access()),
        ({"TOPOLABEL_USERS": "/u.toml"}, Access(users="/u.toml")),
        ({"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": "https://x"}, Access(realm="https://x")),
        ({"MONAI_LABEL_AUTH_ENABLE": "true"}, Access(realm="http://localhost:8080/realms/monailabel")),
        ({"MONAI_LABEL_AUTH_ENABLE": "false", "MONAI_LABEL_AUTH_REALM_URI": "https://x"}, Access()),
    ],
)
def test_settings_are_read_from_the_environment(environment: dict[str, str], access: Access) -> None:
    assert Access.from_environment(environment) == access


def test_settings_are_unchanged_after_passing_through_the_environment(tmp_path: Path) -> None:
    for access in (
        Access(),
        Access(users=str(tmp_path / "u.toml"), open=True),
        Access(realm="https://sso.example.org/realms/lab", audience="topolabel"),
    ):
        assert Access.from_environment(access.variables()) == access
        assert "" not in access.variables().values(), "MONAI Label cannot read an empty setting"
