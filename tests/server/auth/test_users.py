"""The users file: its content, its permissions, and that it is read again after a change."""

import os
from pathlib import Path

import pytest

from lib.server.auth import users as users_module
from lib.server.auth.users import BadUsers, UsersFile, add_user, read_users, remove_user
from tests.server.auth.conftest import PASSWORD


def test_a_user_is_added_checked_changed_and_removed(users_file: Path) -> None:
    file = UsersFile(users_file)
    assert file.check("annotator", PASSWORD) and file.check("annotator", PASSWORD + "x") is None
    add_user(users_file, "annotator", "another password", "reviewer")
    assert file.check("annotator", PASSWORD) is None
    changed = file.check("annotator", "another password")
    assert changed and changed.role == "reviewer"
    remove_user(users_file, "annotator")
    assert file.check("annotator", "another password") is None and "admin" in file.users()


def test_only_hashes_are_kept_and_only_for_the_owner(users_file: Path) -> None:
    assert PASSWORD not in users_file.read_text() and users_file.read_text().count("$argon2id$") == 4
    assert users_file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in users_file.parent.iterdir()] == [users_file.name], "no temporary file is left"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666, 0o620])
def test_a_file_that_others_may_read_or_change_is_refused(users_file: Path, mode: int) -> None:
    users_file.chmod(mode)
    with pytest.raises(BadUsers, match="chmod 600"):
        read_users(users_file)


def test_the_group_may_read_a_users_file(users_file: Path) -> None:
    users_file.chmod(0o640)
    assert len(read_users(users_file)) == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[users", "not a valid users file"),
        ("users = 3", "not a valid users file"),
        ('[users.a]\nrole = "admin"', "not a valid users file"),
        ('[users.a]\nrole = "admin"\npassword = "hunter2"', "argon2id"),
        ('[users.a]\nrole = "root"\npassword = "$argon2id$x"', "no role 'root'"),
        ('[users.a]\nrole = "user"\npassword = "$argon2id$x"\nage = 3', "not a valid users file"),
        ('[people.a]\nrole = "user"', "'people'"),
        (b"\xff\xfe", "not a valid users file"),
    ],
)
def test_invalid_users_files_are_refused(tmp_path: Path, text: str | bytes, reason: str) -> None:
    path = tmp_path / "users.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    with pytest.raises(BadUsers, match=reason):
        read_users(path)


def test_a_broken_or_missing_file_admits_no_user(users_file: Path) -> None:
    file = UsersFile(users_file)
    assert file.users()
    users_file.write_text("[users")
    with pytest.raises(BadUsers):
        file.check("admin", PASSWORD)
    users_file.unlink()
    with pytest.raises(BadUsers, match="No such file"):
        file.users()


def test_a_file_is_read_once_until_it_changes(users_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    monkeypatch.setattr(users_module, "read_users", lambda path: reads.append(path) or read_users(path))
    file = UsersFile(users_file)
    for _ in range(3):
        file.users()
    assert len(reads) == 1
    os.utime(users_file, ns=(1, 1))
    file.users()
    assert len(reads) == 2


@pytest.mark.parametrize("name", ["", " a", "a ", "../a", "a/b", "a\nb", "a" * 65, "[x]"])
def test_valid_user_names(tmp_path: Path, name: str, quick: None) -> None:
    with pytest.raises(BadUsers, match="not a valid name"):
        add_user(tmp_path / "users.toml", name, PASSWORD, "user")


@pytest.mark.parametrize("name", ["Anna", "anna.meier@klinik.example", "Jörg M", "a"])
def test_invalid_user_names_are_refused(tmp_path: Path, name: str, quick: None) -> None:
    add_user(tmp_path / "users.toml", name, PASSWORD, "user")
    assert UsersFile(tmp_path / "users.toml").check(name, PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_passwords_of_invalid_length_are_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(BadUsers, match="password"):
        add_user(tmp_path / "users.toml", "anna", password, "user")


def test_removing_a_user_twice_is_refused(users_file: Path) -> None:
    remove_user(users_file, "user")
    with pytest.raises(BadUsers, match="no user 'user'"):
        remove_user(users_file, "user")


def test_an_unknown_name_costs_a_hash_too(users_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, verified = UsersFile(users_file), []

    class Counting:
        def verify(self, hashed: str, password: str) -> bool:
            verified.append(hashed[:9])
            raise users_module.InvalidHashError

    monkeypatch.setattr(users_module, "_hasher", Counting())
    assert file.check("unknown", "x") is None and file.check("admin", "x") is None
    assert verified == ["$argon2id", "$argon2id"]
