"""The card of a model version: its origin, with hashes that show whether two versions share data or labels."""

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
    """Origin of a model version.

    Args:
        model: Key of the network in the builders' registry.
        labels: Names of the classes 1, 2, ...
        recipe: Name and options of the training recipe.
        data: SHA-256 of the training files of each case, by case name.
        label_schema: SHA-256 of `labels`, in order.
        metrics: Scores of each held-out case.
        parent: Name of the version whose weights the training started from; empty if it started from scratch.
        code_version: Git commit of the code; empty if unknown.
        created: Time of creation, ISO 8601 in UTC; empty until the card is stored.
        notes: Other facts, such as the image specification.
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
        """Return the card as stored on disk; a card without a date gets the present time."""
        return asdict(self) | {"created": self.created or datetime.now(UTC).isoformat(timespec="seconds")}


def hash_labels(labels: Sequence[str]) -> str:
    """Return the SHA-256 of the class names in order: the label value of a class is its index.

    Args:
        labels: Names of the classes 1, 2, ...
    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(list(labels), ensure_ascii=False).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files of a folder, sorted by name.

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
    """Return one SHA-256 per case, over the files of the case in the given order.

    Args:
        files: The files of each case, such as its image and its label.
    Returns:
        64 hexadecimal digits for each case.
    """
    return {
        case: hashlib.sha256("\n".join(hash_file(path) for path in paths).encode()).hexdigest()
        for case, paths in files.items()
    }


def find_code_version() -> str:
    """Return the git commit of this checkout, with ``-dirty`` after local changes; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
