"""Model versions: folders that are written once, and the aliases "champion" and "challenger".

Files are ``<root>/versions/<name>/{weights.safetensors, card.json}`` and ``<root>/{champion,challenger}.json``. A
complete version gets its name by one rename, and an alias is replaced by one rename. So a reader sees the old or the
new version and never a mixture, even if a writer is killed.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lib.data.files.atomic import replacing, sync

WEIGHTS, CARD, FOLDER = "weights.safetensors", "card.json", "versions"
CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases: the version that is served, and the version that waits for the decision of an admin."""
STARTER = "starter"
"""Name of the weights that came with the app; they are served until a version is."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNFINISHED = ".writing-"
UNFINISHED_SECONDS = 3600


@dataclass(frozen=True)
class Version:
    """A model version on disk.

    Args:
        name: Name of the version.
        path: Folder of the version.
    """

    name: str
    path: Path

    @property
    def weights_path(self) -> Path:
        """Path of the weights file."""
        return self.path / WEIGHTS

    @property
    def card(self) -> dict[str, Any]:
        """Origin of the version; see `lib.records.card`."""
        return json.loads((self.path / CARD).read_text())

    def weights(self, device: str = "cpu") -> dict[str, torch.Tensor]:
        """Return the state dict on `device`."""
        return load_file(self.weights_path, device=device)


def new_name() -> str:
    """Return a new name: the time in UTC and six random hexadecimal digits."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def write_version(
    root: Path, weights: Mapping[str, torch.Tensor], card: Mapping[str, Any], *, name: str | None = None
) -> Path:
    """Write a new version; after an error or a kill, no incomplete version is visible.

    Args:
        root: Folder of the versions of one task; created if absent.
        weights: State dict of the network.
        card: Origin of the version, as JSON.
        name: Name of the version; by default a `new_name`, so that names sort by age.
    Returns:
        Folder of the version.
    Raises:
        ValueError: If the name cannot be the name of a folder, a version has that name, or the card is not JSON.
    """
    if name == STARTER:
        raise ValueError(f"{STARTER!r} is the name of the weights that came with the app: choose another name")
    name = name or new_name()
    target = _version_folder(root, name)
    if target.exists():
        raise ValueError(f"version {name} exists, and a version is written once: choose another name")
    text = json.dumps(dict(card), indent=2, sort_keys=True, allow_nan=False)
    _remove_unfinished(target.parent)
    partial = target.with_name(f"{_UNFINISHED}{name}-{uuid.uuid4().hex[:6]}")
    partial.mkdir(parents=True)
    try:
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}, partial / WEIGHTS)
        (partial / CARD).write_text(text)
        for path in (partial / WEIGHTS, partial / CARD, partial):
            sync(path)
        _rename_into_place(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync(target.parent)
    return target


def list_versions(root: Path) -> list[Version]:
    """Return the complete versions, sorted by name; default names sort by age.

    Args:
        root: Folder of the versions of one task.
    """
    folder = root / FOLDER
    if not folder.is_dir():
        return []
    return [Version(path.name, path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def find_version(root: Path, name: str) -> Version:
    """Return the version of that name.

    Raises:
        ValueError: If there is no such version; the message lists the existing ones.
    """
    if not _version_folder(root, name).is_dir():
        known = ", ".join(version.name for version in list_versions(root)) or "none"
        raise ValueError(f"there is no version {name}; there are: {known}")
    return Version(name, _version_folder(root, name))


def set_champion(root: Path, name: str) -> None:
    """Make `name` the served version in one atomic step; see `set_alias`."""
    set_alias(root, CHAMPION, name)


def champion(root: Path) -> Version | None:
    """Return the served version, or None; see `read_alias`."""
    return read_alias(root, CHAMPION)


def set_alias(root: Path, alias: str, name: str | None) -> None:
    """Point an alias to a version in one atomic step.

    Args:
        root: Folder of the versions of one task.
        alias: `CHAMPION` or `CHALLENGER`.
        name: Name of an existing version; None removes the alias.
    Raises:
        ValueError: If there is no such version; the message lists the existing ones.
    """
    file = _alias_file(root, alias)
    if name is None:
        file.unlink(missing_ok=True)
        if root.is_dir():
            sync(root)
    else:
        find_version(root, name)
        with replacing(file) as partial:
            partial.write_text(json.dumps({"version": name}))


def read_alias(root: Path, alias: str) -> Version | None:
    """Return the version that an alias points to.

    Args:
        root: Folder of the versions of one task.
        alias: `CHAMPION` or `CHALLENGER`.
    Returns:
        The version; None without such an alias.
    Raises:
        ValueError: If the alias file is damaged, or points to an absent version.
    """
    file = _alias_file(root, alias)
    try:
        name = str(json.loads(file.read_text())["version"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as fault:
        raise ValueError(f"{file.name} does not name a version ({fault}): set the {alias} again") from fault
    path = _version_folder(root, name)
    if not path.is_dir():
        raise ValueError(f"the {alias} {name} does not exist on disk: choose another {alias}")
    return Version(name, path)


def _alias_file(root: Path, alias: str) -> Path:
    assert alias in (CHAMPION, CHALLENGER), "there are two aliases"
    return root / f"{alias}.json"


def _version_folder(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a version's name has letters, digits, dots, dashes and underscores only, got {name!r}")
    return root / FOLDER / name


def _remove_unfinished(folder: Path) -> None:
    """Remove old incomplete folders of killed writers."""
    for partial in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > UNFINISHED_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)


def _rename_into_place(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)
    except OSError as fault:
        if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # A rename to a non-empty folder fails: another writer was first.
        raise ValueError(f"version {target.name} exists, and a version is written once: choose another name") from fault
