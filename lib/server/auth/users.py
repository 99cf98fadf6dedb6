"""The users file of a single machine: names, argon2 hashes and roles as TOML."""

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

from lib.server.auth.roles import GIVEN

MIN_PASSWORD = 10
MAX_PASSWORD = 1024
_NAME = re.compile(r"\w[\w.@+ -]{0,63}")
_hasher = PasswordHasher()


class BadUsers(ValueError):
    """Raised for a users file that cannot be trusted, with the reason."""


@dataclass(frozen=True)
class User:
    """An entry of the file.

    Args:
        role: user, annotator, reviewer or admin.
        password: Its argon2 hash.
    """

    role: str
    password: str

    def __post_init__(self) -> None:
        if self.role not in GIVEN:
            raise BadUsers(f"there is no role '{self.role}', only {', '.join(GIVEN)}")
        if not isinstance(self.password, str) or not self.password.startswith("$argon2id$"):
            raise BadUsers("a password is kept as its argon2id hash: use `python -m lib users add`")


class UsersFile:
    """A users file, read anew whenever it changed.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], Mapping[str, User]] | None = None
        # Somebody unknown takes as long to refuse as a wrong password.
        self._nobody = _hasher.hash(os.urandom(16))

    def users(self) -> Mapping[str, User]:
        """Return who is in it now.

        Raises:
            BadUsers: If it cannot be read or trusted: then nobody is let in, and not those of yesterday.
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
        """Return the user of a name and password, None if either is wrong; the time it takes does not say which."""
        user = self.users().get(name)
        try:
            _hasher.verify(user.password if user else self._nobody, password[: MAX_PASSWORD + 1])
        except (Argon2Error, InvalidHashError):
            return None
        return user


def read_users(path: Path) -> dict[str, User]:
    """Return the users of a file.

    Args:
        path: The file.
    Raises:
        BadUsers: If it is not TOML of users, or others on this machine may read or change it: its hashes are all that
            somebody needs to try passwords at leisure.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (S_IRWXO | S_IWGRP):
                raise BadUsers(f"{path} is open to others on this machine: run `chmod 600 {path}`")
            content = tomllib.load(file)
        found = {name: User(**fields) for name, fields in content.pop("users", {}).items()}
    except OSError as error:
        raise BadUsers(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise BadUsers(f"{path} is no users file: {error}") from None
    if content:
        raise BadUsers(f"{path} has '{next(iter(content))}'; only [users.NAME] tables belong there")
    return found


def add_user(path: Path, name: str, password: str, role: str) -> None:
    """Add a user or give one a new password and role; their sessions end.

    Args:
        path: The file; made where there is none.
        name: Letters, digits and ``. @ + - _``.
        password: In the clear; its hash is kept.
        role: user, annotator, reviewer or admin.
    Raises:
        BadUsers: If something of this will not do.
    """
    if not _NAME.fullmatch(name) or name != name.strip():
        raise BadUsers(f"'{name}' is no name: letters, digits and . @ + - _, at most 64")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadUsers(f"a password has at least {MIN_PASSWORD} characters")
    users = read_users(path) if path.exists() else {}
    _write(path, users | {name: User(role, _hasher.hash(password))})


def remove_user(path: Path, name: str) -> None:
    """Remove a user; their sessions end.

    Raises:
        BadUsers: If there is none of that name.
    """
    users = read_users(path)
    if name not in users:
        raise BadUsers(f"there is no user '{name}' in {path}")
    _write(path, {each: user for each, user in users.items() if each != name})


def _write(path: Path, users: Mapping[str, User]) -> None:
    """Replace the file in one step; a server that reads it meanwhile sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes files that only their owner may read.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        tomli_w.dump({"users": {name: asdict(user) for name, user in sorted(users.items())}}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
