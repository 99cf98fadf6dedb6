"""Label versions: a copy of every saved label stays on disk, and the ledger has a row for it.

Files are ``<app>/records/labels/<image>/<sha256>.<suffix>``; refused labels are in ``<app>/records/refused``. The name
of a file is the hash of its content, so a file is never overwritten with other content.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from lib.data.files.atomic import replacing
from lib.data.formats import stem
from lib.records.card import hash_file, hash_labels
from lib.records.ledger import FOLDER, Ledger, Row

SUBMITTED, PREDICTED, FOUND, REMOVED = "submitted", "predicted", "found", "removed"
"""Sources of a label row: an annotator, a model of this server, a file found in the store, or a removal."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Origin of a label.

    Args:
        source: `SUBMITTED`, `PREDICTED`, `FOUND` or `REMOVED`.
        who: Name of the user; empty without sign-in.
        task: Task that made the proposal which the annotator corrected; empty without a proposal.
        version: Model version that made that proposal.
        prompts: Clicks and boxes of the annotator.
        seconds: Working time in seconds. Pauses are left out, unless the client measured the time.
        blank: Whether the study was randomly drawn to be labelled without a proposal.
        edit_ml: Volume that differs from the proposal, in ml.
        findings: Findings of the automatic check of the label.
        covered: Names of the labels that the label covers; None for all labels of the app.
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
    covered: tuple[str, ...] | None = None


class LabelVersions:
    """All versions of the labels of one app.

    Args:
        app_dir: Folder of the app; file names in the ledger are relative to it.
        ledger: Ledger of the app.
        names: Names of the app's labels 1, 2, ... now. A row has them, so that a label never covers a label that was
            added later.
    """

    def __init__(self, app_dir: str | Path, ledger: Ledger, names: Sequence[str] = ()) -> None:
        self.app_dir, self.ledger, self.names = Path(app_dir), ledger, tuple(names)
        self._hashes: dict[tuple[Path, int, int], str] = {}

    @property
    def values(self) -> dict[str, int]:
        """Value of each label of the app by name."""
        return {name: value for value, name in enumerate(self.names, start=1)}

    def save_copy(self, image: str, label: Path) -> Path:
        """Copy a label file to the records and return the copy; it is on the disk when this returns.

        Args:
            image: Name of the image.
            label: Label file to copy.
        Raises:
            ValueError: If the name of the image is empty, hidden or a path.
            OSError: If the disk is full or read-only; earlier copies stay unchanged.
        """
        if not image or Path(image).name != image or image.startswith("."):
            raise ValueError(f"{image!r} is no name of an image: a name is not empty, not hidden and not a path")
        digest = hash_file(label)
        target = self.app_dir / FOLDER / "labels" / image / f"{digest}{label.name.removeprefix(stem(label))}"
        if not target.exists() or hash_file(target) != digest:
            _create_folder(target.parent)
            with replacing(target) as file:
                shutil.copyfile(label, file)
        return target

    def record(
        self, image: str, image_path: Path, tag: str, kept: Path, origin: Origin, *, also: Iterable[Path] = ()
    ) -> Row:
        """Add a saved label to the ledger.

        Args:
            image: Name of the image.
            image_path: File or folder of the image.
            tag: Tag of the label, such as "final".
            kept: Copy of the label, as returned by `save_copy`.
            origin: Origin of the label.
            also: Other copies that belong to the label, such as the file that it was made from.
        """
        digest, files = stem(kept), {self._relative(path): stem(path) for path in (kept, *also)}
        body = {"tag": tag, "image": self.hash(image_path), "label": digest, **asdict(origin)}
        body |= {"labels": self.names, "covered": origin.covered or self.names} if self.names else {}
        return self.ledger.append("label", image, body | {"files": files})

    def ensure_recorded(
        self, image: str, image_path: Path, tag: str, label: Path, covered: Sequence[str] | None = None
    ) -> Path:
        """Return the saved copy of a label of the store; copy and record the label first if the ledger lacks it.

        The ledger lacks labels that were copied into the store by hand, and labels whose saving process was killed
        before it wrote the row.

        Args:
            image: Name of the image.
            image_path: File or folder of the image.
            tag: Tag of the label.
            label: Label file of the store.
            covered: Labels that the file beside the label names; None without it, so that the last row of this label
                holds.
        """
        digest, kept = self.hash(label), self.save_copy(image, label)
        rows = [row for row in self.ledger.rows("label", image) if row.body["tag"] == tag]
        is_known = bool(rows) and rows[-1].body.get("label") == digest
        if not is_known or (covered and tuple(covered) != (self.covered(image, tag) or self.names)):
            self.record(image, image_path, tag, kept, Origin(source=FOUND, covered=tuple(covered or ()) or None))
        return kept

    def covered(self, image: str, tag: str) -> tuple[str, ...] | None:
        """Return which labels the label covers that was recorded last; None for all labels of the app.

        A label covers at most the labels that the app had when it was recorded: rows without names are from the time
        before, and the versions in the ledger then say how many labels the app had.
        """
        rows = [row for row in self.ledger.rows("label", image) if row.body["tag"] == tag]
        if not rows or not self.names:
            return None
        body = rows[-1].body
        then = body.get("labels") or self._names_at(rows[-1])
        drawn = body.get("covered") or then
        # By value, because a label keeps its value in the file when its name changes.
        covered = tuple(now for was, now in zip(then, self.names, strict=False) if was in drawn)
        return None if covered == self.names else covered

    def _names_at(self, row: Row) -> tuple[str, ...]:
        """Return the labels of the app at the time of a row that lacks them.

        They are the first of today's labels whose hash the version has that was registered last before the row, or
        first after it; all of today's labels if no version has such a hash.
        """
        known = {hash_labels(self.names[:count]): count for count in range(1, len(self.names) + 1)}
        versions = [one for one in self.ledger.rows("version") if one.body.get("label_schema") in known]
        before = [one for one in versions if one.seq < row.seq]
        nearest = before[-1:] or versions[:1]
        return self.names[: known[nearest[0].body["label_schema"]]] if nearest else self.names

    def record_removal(self, image: str, tag: str) -> Row:
        """Record that a label was removed from the store; its saved copies stay."""
        return self.ledger.append("label", image, {"tag": tag, "source": REMOVED})

    def newest(self, image: str, tag: str) -> Path | None:
        """Return the file of the label that was recorded last; None without a label or after its removal."""
        rows = [row for row in self.ledger.rows("label", image) if row.body["tag"] == tag]
        body = rows[-1].body if rows else {}
        kept = (name for name, digest in body.get("files", {}).items() if digest == body.get("label"))
        return next((self.app_dir / name for name in kept), None)

    def hash(self, path: Path) -> str:
        """Return `hash_file` of a path; the result for an unchanged file is cached."""
        if path.is_dir():
            return hash_file(path)
        facts = path.stat()
        key = path.resolve(), facts.st_size, facts.st_mtime_ns
        if key not in self._hashes:
            self._hashes[key] = hash_file(path)
        return self._hashes[key]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.app_dir).as_posix()


def save_refused(app_dir: str | Path, image: str, name: str, content: bytes) -> str:
    """Save a refused label file; the same content is saved once.

    Args:
        app_dir: Folder of the app.
        image: Name of the image.
        name: Name of the sent file; the saved file gets its suffix.
        content: Bytes of the sent file.
    Returns:
        Path relative to the app's folder: ``records/refused/<image>/<time>-<first 16 digits of sha256>.<suffix>``.
    Raises:
        OSError: If the disk is full or read-only.
    """
    folder, digest = Path(app_dir) / FOLDER / "refused" / image, sha256(content).hexdigest()[:16]
    found = next(folder.glob(f"*-{digest}.*"), None)
    if found is None:
        _create_folder(folder)
        found = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{digest}{name.removeprefix(stem(Path(name)))}"
        with replacing(found) as file:
            file.write_bytes(content)
    return found.relative_to(app_dir).as_posix()


def _create_folder(folder: Path) -> None:
    """Create a folder with its parents, and flush the new directory entries to the disk."""
    new = [path for path in _with_parents(folder) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _with_parents(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents
