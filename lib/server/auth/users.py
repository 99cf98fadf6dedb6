"""The users file: names, argon2 password hashes and roles as TOML."""

import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_IRWXO, S_IWGRP

import tomli_w
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from lib.server.auth.roles import ASSIGNABLE_ROLES

MIN_PASSWORD = 10
MAX_PASSWORD = 1024
_NAME = re.compile(r"\w[\w.@+ -]{0,63}")
_hasher = PasswordHasher()


class BadUsers(ValueError):
    """Raised for an invalid users file or entry, with the reason."""


@dataclass(frozen=True)
class User:
    """A user of the file.

    Args:
        role: The role: user, annotator, reviewer or admin.
        password: The argon2id hash of the password.
    """

    role: str
    password: str

    def __post_init__(self) -> None:
        if self.role not in ASSIGNABLE_ROLES:
            raise BadUsers(f"there is no role '{self.role}': use one of {', '.join(ASSIGNABLE_ROLES)}")
        if not isinstance(self.password, str) or not self.password.startswith("$argon2id$"):
            raise BadUsers("a password is not an argon2id hash: set it with `python -m lib users add`")


class UsersFile:
    """A users file, read again whenever it has changed.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], Mapping[str, User]] | None = None
        # Checked for unknown names, so that refusing them takes as long as refusing a wrong password.
        self._unknown_user_hash = _hasher.hash(os.urandom(16))

    def users(self) -> Mapping[str, User]:
        """Return the users that are in the file now.

        Raises:
            BadUsers: If the file cannot be read or is invalid; users that were read before are not used.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise BadUsers(f"{self.path} cannot be read: {error.strerror}") from None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, read_users(self.path))
        return self._read[1]

    def check(self, name: str, password: str) -> User | None:
        """Return the user of a name and password, None if either is wrong; the duration does not reveal which."""
        user = self.users().get(name)
        try:
            _hasher.verify(user.password if user else self._unknown_user_hash, password[: MAX_PASSWORD + 1])
        except (Argon2Error, InvalidHashError):
            return None
        return user


def read_users(path: Path) -> dict[str, User]:
    """Return the users of a file by name.

    Args:
        path: Path of the file.
    Raises:
        BadUsers: If the file is not a valid TOML table of users, or other accounts of this machine may read or change
            it: with the hashes an attacker could try passwords without limit.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (S_IRWXO | S_IWGRP):
                raise BadUsers(f"other accounts of this machine may read or change {path}: run `chmod 600 {path}`")
            content = tomllib.load(file)
        found = {name: User(**fields) for name, fields in content.pop("users", {}).items()}
    except OSError as error:
        raise BadUsers(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise BadUsers(f"{path} is not a valid users file: {error}") from None
    if content:
        raise BadUsers(f"{path} has the key '{next(iter(content))}': remove it; only [users.NAME] tables are allowed")
    return found


def add_user(path: Path, name: str, password: str, role: str) -> None:
    """Add a user, or replace a user's password and role; the user's sessions end.

    Args:
        path: Path of the users file; created if missing.
        name: Name of letters, digits and ``. @ + - _``.
        password: The password in plain text; only its hash is stored.
        role: The role: user, annotator, reviewer or admin.
    Raises:
        BadUsers: If the name, password or role is invalid.
    """
    if not _NAME.fullmatch(name) or name != name.strip():
        raise BadUsers(f"'{name}' is not a valid name: use at most 64 letters, digits and . @ + - _")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadUsers(f"the password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters: choose another one")
    users = read_users(path) if path.exists() else {}
    _write(path, users | {name: User(role, _hasher.hash(password))})


def remove_user(path: Path, name: str) -> None:
    """Remove a user; the user's sessions end.

    Raises:
        BadUsers: If the file has no user of that name.
    """
    users = read_users(path)
    if name not in users:
        raise BadUsers(f"there is no user '{name}' in {path}: run `python -m lib users list {path}` for the names")
    _write(path, {other: user for other, user in users.items() if other != name})


def _write(path: Path, users: Mapping[str, User]) -> None:
    """Replace the file atomically: a server that reads it at the same time sees the old or the new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp creates files that only their owner may read.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        tomli_w.dump({"users": {name: asdict(user) for name, user in sorted(users.items())}}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
