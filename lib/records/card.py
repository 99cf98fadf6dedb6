"""The card of a model version: where it comes from, hashed so that two versions can be told apart or tied together."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model version says of itself.

    Args:
        model: The builder's key.
        labels: Names of the classes 1, 2, ...
        recipe: The recipe's name and options.
        data: Hash of every training file, by case.
        label_schema: Hash of `labels`, in order.
        metrics: Scores per held-out case.
        parent: The version it started from; empty if from scratch.
        code_version: The code that made it; empty if unknown.
        created: When, ISO 8601 in UTC.
        notes: Anything else, such as the image specification.
    """

    model: str
    labels: tuple[str, ...]
    recipe: dict[str, Any]
    data: dict[str, str]
    label_schema: str
    metrics: list[dict[str, Any]] = field(default_factory=list)
    parent: str = ""
    code_version: str = ""
    created: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the card as it is stored, dated now if it has no date."""
        return asdict(self) | {"created": self.created or datetime.now(UTC).isoformat(timespec="seconds")}


def hash_labels(labels: Sequence[str]) -> str:
    """Return the SHA-256 of class names in their order: the index of a name is part of its meaning.

    Args:
        labels: Names of the classes 1, 2, ...
    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(list(labels), ensure_ascii=False).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names, in order of name.

    Args:
        path: A file, or a folder such as a DICOM series.
    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for member in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{member.relative_to(path).as_posix()}\0{hash_file(member)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def hash_data(files: Mapping[str, Iterable[Path]]) -> dict[str, str]:
    """Return one hash per case, over its files in the order given.

    Args:
        files: The files of each case, such as its image and its label.
    Returns:
        64 hexadecimal digits by case.
    """
    return {
        case: hashlib.sha256("\n".join(hash_file(path) for path in paths).encode()).hexdigest()
        for case, paths in files.items()
    }


def find_code_version() -> str:
    """Return the commit of this checkout, with ``-dirty`` if files differ from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
