"""Model versions: folders written once, and the aliases that say which one is served and which one waits.

``<root>/versions/<name>/{weights.safetensors, card.json}`` and ``<root>/{champion,challenger}.json``. A version appears
under its name by one rename, whole; an alias is replaced by one rename. So a reader sees an old or a new version, never
a mixture, whatever is killed when.
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
"""The version that is served, and the one that awaits the admin's word."""
STARTER = "starter"
"""What is served where no version is: the weights that came with the app."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNFINISHED = ".writing-"
UNFINISHED_SECONDS = 3600


@dataclass(frozen=True)
class Version:
    """A model version on disk.

    Args:
        name: Its name.
        path: Its folder.
    """

    name: str
    path: Path

    @property
    def weights_path(self) -> Path:
        """The weights' file."""
        return self.path / WEIGHTS

    @property
    def card(self) -> dict[str, Any]:
        """Where it comes from."""
        return json.loads((self.path / CARD).read_text())

    def weights(self, device: str = "cpu") -> dict[str, torch.Tensor]:
        """Return the state dict, on `device`."""
        return load_file(self.weights_path, device=device)


def new_name() -> str:
    """Return the time in UTC and a random end."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def write_version(
    root: Path, weights: Mapping[str, torch.Tensor], card: Mapping[str, Any], *, name: str | None = None
) -> Path:
    """Write a new version, whole or not at all.

    Args:
        root: Folder of one task's versions; made if absent.
        weights: The state dict.
        card: Where it comes from; anything JSON can say.
        name: Its name; by default the time in UTC and a random end, so that names sort by age.
    Returns:
        The version's folder.
    Raises:
        ValueError: If the name is unfit for a folder, a version has it, or the card is not JSON.
    """
    if name == STARTER:
        raise ValueError(f"{STARTER} names the weights that came with the app")
    name = name or new_name()
    target = _folder(root, name)
    if target.exists():
        raise ValueError(f"version {name} exists, and versions are written once")
    text = json.dumps(dict(card), indent=2, sort_keys=True, allow_nan=False)
    _sweep(target.parent)
    partial = target.with_name(f"{_UNFINISHED}{name}-{uuid.uuid4().hex[:6]}")
    partial.mkdir(parents=True)
    try:
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}, partial / WEIGHTS)
        (partial / CARD).write_text(text)
        for path in (partial / WEIGHTS, partial / CARD, partial):
            sync(path)
        _publish(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync(target.parent)
    return target


def list_versions(root: Path) -> list[Version]:
    """Return the whole versions, by name: by age, where names are the default ones.

    Args:
        root: Folder of one task's versions.
    Returns:
        The versions; what a killed writer left behind is not among them.
    """
    folder = root / FOLDER
    if not folder.is_dir():
        return []
    return [Version(path.name, path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def find_version(root: Path, name: str) -> Version:
    """Return the version of that name.

    Raises:
        ValueError: If there is no such version, with those that exist.
    """
    if not _folder(root, name).is_dir():
        known = ", ".join(version.name for version in list_versions(root)) or "none"
        raise ValueError(f"there is no version {name}; there are: {known}")
    return Version(name, _folder(root, name))


def set_champion(root: Path, name: str) -> None:
    """Make `name` the version that is served, in one step; see `set_alias`."""
    set_alias(root, CHAMPION, name)


def champion(root: Path) -> Version | None:
    """Return the version that is served; see `aliased`."""
    return aliased(root, CHAMPION)


def set_alias(root: Path, alias: str, name: str | None) -> None:
    """Make an alias name a version, in one step.

    Args:
        root: Folder of one task's versions.
        alias: `CHAMPION` or `CHALLENGER`.
        name: A version that exists; None takes the alias away.
    Raises:
        ValueError: If there is no such version, with those that exist.
    """
    pointer = _pointer(root, alias)
    if name is None:
        pointer.unlink(missing_ok=True)
        if root.is_dir():
            sync(root)
    else:
        find_version(root, name)
        with replacing(pointer) as partial:
            partial.write_text(json.dumps({"version": name}))


def aliased(root: Path, alias: str) -> Version | None:
    """Return the version that an alias names.

    Args:
        root: Folder of one task's versions.
        alias: `CHAMPION` or `CHALLENGER`.
    Returns:
        The version, or None where the alias names none.
    Raises:
        ValueError: If the alias names a version that is not there.
    """
    pointer = _pointer(root, alias)
    try:
        name = str(json.loads(pointer.read_text())["version"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as fault:
        raise ValueError(f"{pointer.name} is no pointer to a version ({fault}); choose the {alias} anew") from fault
    path = _folder(root, name)
    if not path.is_dir():
        raise ValueError(f"the {alias} {name} is not there; choose another")
    return Version(name, path)


def _pointer(root: Path, alias: str) -> Path:
    assert alias in (CHAMPION, CHALLENGER), "two aliases exist"
    return root / f"{alias}.json"


def _folder(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a version's name has letters, digits, dots, dashes and underscores, got {name!r}")
    return root / FOLDER / name


def _sweep(folder: Path) -> None:
    """Remove what killed writers left, once nobody can be writing it any more."""
    for partial in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > UNFINISHED_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)
    except OSError as fault:
        if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # Renaming onto a folder that is not empty fails: another writer was first.
        raise ValueError(f"version {target.name} exists, and versions are written once") from fault
