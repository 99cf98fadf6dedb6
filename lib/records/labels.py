"""Label versions: every label that is saved stays, as a file of its own and as a row of the ledger.

``<app>/records/labels/<image>/<sha256>.<suffix>``, and beside ``labels`` those that were refused. A name that says its
content is never written over with another.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from lib.data.files.atomic import replacing
from lib.data.formats import stem
from lib.records.card import hash_file
from lib.records.ledger import FOLDER, Ledger, Row

SUBMITTED, PREDICTED, FOUND, REMOVED = "submitted", "predicted", "found", "removed"
"""Where a label came from: a person, a model of this server, the store as it was, or nowhere any more."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a label came to be.

    Args:
        source: One of the words above.
        who: The user; empty if nobody logged in.
        task: The task whose proposal it began with; empty if it began with none.
        version: The version that made that proposal.
        prompts: The clicks and boxes that led to it.
        seconds: Work on it, pauses cut out unless the client counted.
        blank: Whether its study was drawn by lot to get no proposal.
        edit_ml: Volume that differs from the proposal.
        findings: What a check of the label remarked.
    """

    source: str = SUBMITTED
    who: str = ""
    task: str = ""
    version: str = ""
    prompts: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    blank: bool = False
    edit_ml: float | None = None
    findings: list[Any] = field(default_factory=list)


class LabelVersions:
    """The labels of one app, in all their versions.

    Args:
        app_dir: The app's folder; the ledger names files relative to it.
        ledger: Where they are recorded.
    """

    def __init__(self, app_dir: str | Path, ledger: Ledger) -> None:
        self.app_dir, self.ledger = Path(app_dir), ledger
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def keep(self, image: str, label: Path) -> Path:
        """Return a copy of a label file that stays; it is on the disk when this returns.

        Args:
            image: Name of the image.
            label: The file.
        Raises:
            ValueError: If the image's name is a path.
            OSError: If the disk is full or read-only; what was kept before is as it was.
        """
        if not image or Path(image).name != image or image.startswith("."):
            raise ValueError(f"{image!r} is no name of an image")
        digest = hash_file(label)
        target = self.app_dir / FOLDER / "labels" / image / f"{digest}{label.name.removeprefix(stem(label))}"
        if not target.exists() or hash_file(target) != digest:
            _make(target.parent)
            with replacing(target) as file:
                shutil.copyfile(label, file)
        return target

    def record(self, image: str, image_path: Path, tag: str, kept: Path, origin: Origin) -> Row:
        """Add a kept label to the ledger.

        Args:
            image: Name of the image.
            image_path: Its file or folder.
            tag: The label's tag, such as "final".
            kept: What `keep` returned.
            origin: How it came to be.
        """
        digest = stem(kept)
        body = {"tag": tag, "image": self.hash(image_path), "label": digest, **asdict(origin)}
        return self.ledger.append("label", image, body | {"files": {self._relative(kept): digest}})

    def adopt(self, image: str, image_path: Path, tag: str, label: Path) -> Path:
        """Return the version of a label of the store; kept and recorded now, if it got there by another way.

        So does what a killed process left: a label that the store has and that was not recorded any more.

        Args:
            image: Name of the image.
            image_path: Its file or folder.
            tag: The label's tag.
            label: The store's file.
        """
        digest, kept = self.hash(label), self.keep(image, label)
        rows = [row for row in self.ledger.rows("label", image) if row.body["tag"] == tag]
        if not rows or rows[-1].body.get("label") != digest:
            self.record(image, image_path, tag, kept, Origin(source=FOUND))
        return kept

    def forget(self, image: str, tag: str) -> Row:
        """Record that the store has no such label any more; its versions stay."""
        return self.ledger.append("label", image, {"tag": tag, "source": REMOVED})

    def newest(self, image: str, tag: str) -> Path | None:
        """Return the file of the label recorded last, None if there is none or it was removed."""
        rows = [row for row in self.ledger.rows("label", image) if row.body["tag"] == tag]
        files = rows[-1].body.get("files", {}) if rows else {}
        return next((self.app_dir / name for name in files), None)

    def hash(self, path: Path) -> str:
        """Return `hash_file` of a path, computed once for a file that stays as it is."""
        if path.is_dir():
            return hash_file(path)
        facts = path.stat()
        key = path.resolve(), facts.st_size, facts.st_mtime_ns
        if key not in self._hashes:
            self._hashes[key] = hash_file(path)
        return self._hashes[key]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.app_dir).as_posix()


def keep_refused(app_dir: str | Path, image: str, name: str, content: bytes) -> str:
    """Keep a label file that was refused, beside those that were not; the same content is kept once.

    Args:
        app_dir: The app's folder.
        image: Name of the image.
        name: Name of the file, for its suffix.
        content: Its bytes.
    Returns:
        The file, relative to the app's folder: ``records/refused/<image>/<time>-<sha256, short>.<suffix>``.
    Raises:
        OSError: If the disk is full or read-only.
    """
    folder, digest = Path(app_dir) / FOLDER / "refused" / image, sha256(content).hexdigest()[:16]
    found = next(folder.glob(f"*-{digest}.*"), None)
    if found is None:
        _make(folder)
        found = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{digest}{name.removeprefix(stem(Path(name)))}"
        with replacing(found) as file:
            file.write_bytes(content)
    return found.relative_to(app_dir).as_posix()


def _make(folder: Path) -> None:
    """Make a folder and put every new name in its path on the disk."""
    new = [path for path in _and_parents(folder) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _and_parents(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents
