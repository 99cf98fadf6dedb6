"""Model versions: folders written once, and the pointer that says which one is served.

``<root>/versions/<name>/{weights.safetensors, card.json}`` and ``<root>/champion.json``. A version appears under its
name by one rename, whole; the pointer is replaced by one rename. So a reader sees an old or a new version, never a
mixture, whatever is killed when.
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS, CARD, POINTER, FOLDER = "weights.safetensors", "card.json", "champion.json", "versions"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNFINISHED = ".writing-"


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
    name = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    target = _folder(root, name)
    if target.exists():
        raise ValueError(f"version {name} exists, and versions are written once")
    text = json.dumps(dict(card), indent=2, sort_keys=True, allow_nan=False)
    partial = target.with_name(f"{_UNFINISHED}{name}-{uuid.uuid4().hex[:6]}")
    partial.mkdir(parents=True)
    try:
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}, partial / WEIGHTS)
        (partial / CARD).write_text(text)
        for path in (partial / WEIGHTS, partial / CARD, partial):
            _sync(path)
        _publish(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(target.parent)
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


def set_champion(root: Path, name: str) -> None:
    """Make `name` the version that is served, in one step.

    Args:
        root: Folder of one task's versions.
        name: A version that exists.
    Raises:
        ValueError: If there is no such version, with those that exist.
    """
    if not _folder(root, name).is_dir():
        known = ", ".join(version.name for version in list_versions(root)) or "none"
        raise ValueError(f"there is no version {name}; there are: {known}")
    partial = root / f".{POINTER}-{uuid.uuid4().hex[:6]}"
    try:
        partial.write_text(json.dumps({"version": name}))
        _sync(partial)
        os.replace(partial, root / POINTER)
    finally:
        partial.unlink(missing_ok=True)
    _sync(root)


def champion(root: Path) -> Version | None:
    """Return the version that is served.

    Args:
        root: Folder of one task's versions.
    Returns:
        The version, or None before the first was chosen.
    Raises:
        ValueError: If the pointer names a version that is not there.
    """
    try:
        name = str(json.loads((root / POINTER).read_text())["version"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as fault:
        raise ValueError(f"{POINTER} is no pointer to a version ({fault}); choose the champion anew") from fault
    path = _folder(root, name)
    if not path.is_dir():
        raise ValueError(f"the champion {name} is not there; choose another")
    return Version(name, path)


def _folder(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"a version's name has letters, digits, dots, dashes and underscores, got {name!r}")
    return root / FOLDER / name


def _publish(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)
    except OSError as fault:
        # Renaming onto a folder that is not empty fails: another writer was first.
        raise ValueError(f"version {target.name} exists, and versions are written once") from fault


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
