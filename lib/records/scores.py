"""Scores of cases for the active-learning strategies: a job computes them once, and the strategies read them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lib.records import database as engine
from lib.records.ledger import FOLDER

FILE = "scores.db"
SCHEMA = sa.MetaData()
IMAGES = sa.Table(
    "images",
    SCHEMA,
    sa.Column("image", sa.Text, primary_key=True),
    sa.Column("stamp", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False, index=True),
)
SCORES = sa.Table(
    "scores",
    SCHEMA,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("settings", sa.Text, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("numbers", sa.JSON(none_as_null=True)),
    sa.Column("embedding", sa.JSON(none_as_null=True)),
    sa.Column("error", sa.Text, nullable=False),
)
VERSIONS_KEPT = 3


@dataclass(frozen=True)
class ScoreSource:
    """Model and settings that a score was computed with.

    Args:
        task: Name of the task.
        version: Name of the model version.
        settings: Hash of all other settings that the score depends on.
    """

    task: str
    version: str
    settings: str


@dataclass(frozen=True)
class CaseScore:
    """Scores of a case, computed by one model version.

    Args:
        numbers: Scores of `lib.evaluation.selection.case_scores`; None if only the embedding was computed.
        embedding: Embedding of the image, ``(E,)``; None if it was not computed.
        error: Reason why the scoring failed; empty if it succeeded.
    """

    numbers: dict[str, Any] | None = None
    embedding: list[float] | None = None
    error: str = ""

    @property
    def done(self) -> bool:
        """Whether the case needs no further scoring: it has numbers, or the scoring failed."""
        return self.numbers is not None or bool(self.error)


class Scores:
    """Scores of one app, in a table that jobs write and the server reads.

    The key of an image is the SHA-256 of its bytes. A second table maps names of images to hashes, with a stamp that
    changes when the file changes.

    Args:
        app_dir: Folder of the app; the table is ``records/scores.db`` there.
    """

    def __init__(self, app_dir: str | Path) -> None:
        self.file = Path(app_dir) / FOLDER / FILE
        self._tables = engine.Tables(self.file, SCHEMA, "the scores")

    def record_image(self, image: str, stamp: str, sha256: str) -> None:
        """Record the present stamp and SHA-256 of an image."""
        with self._tables.writing() as connection:
            connection.execute(sa.delete(IMAGES).where(IMAGES.c.image == image))
            connection.execute(sa.insert(IMAGES).values(image=image, stamp=stamp, sha256=sha256))

    def find_hash(self, image: str, stamp: str) -> str:
        """Return the recorded SHA-256 of an image with that stamp; empty if none is recorded."""
        same = sa.select(IMAGES.c.sha256).where(IMAGES.c.image == image, IMAGES.c.stamp == stamp)
        return next(iter(self._rows(same)), [""])[0]

    def put(self, sha256: str, source: ScoreSource, score: CaseScore) -> None:
        """Store a score; it replaces an earlier score with the same key."""
        key = {"sha256": sha256, **vars(source)}
        with self._tables.writing() as connection:
            connection.execute(sa.delete(SCORES).where(*(SCORES.c[name] == value for name, value in key.items())))
            connection.execute(sa.insert(SCORES).values(**key, at=time.time(), **vars(score)))

    def get(self, sha256: str, source: ScoreSource) -> CaseScore | None:
        """Return the score of an image; None if there is none."""
        found = self._rows(sa.select(*_SCORE).where(SCORES.c.sha256 == sha256, *_conditions(source)))
        return CaseScore(*found[0]) if found else None

    def by_image(self, source: ScoreSource) -> dict[str, tuple[str, CaseScore]]:
        """Return the stamp and the score of every image that has a score, by the name of the image."""
        both = sa.select(IMAGES.c.image, IMAGES.c.stamp, *_SCORE).join(SCORES, IMAGES.c.sha256 == SCORES.c.sha256)
        rows = self._rows(both.where(*_conditions(source)))
        return {image: (stamp, CaseScore(*rest)) for image, stamp, *rest in rows}

    def versions(self, task: str, settings: str) -> list[str]:
        """Return the versions that scored a case, the version with the newest score first."""
        last = sa.func.max(SCORES.c.at)
        conditions = SCORES.c.task == task, SCORES.c.settings == settings
        chosen = sa.select(SCORES.c.version).where(*conditions).group_by(SCORES.c.version).order_by(last.desc())
        return [row[0] for row in self._rows(chosen)]

    def delete_stale(self, source: ScoreSource) -> None:
        """Delete the scores of a task that no strategy will use: other settings, and versions replaced long ago."""
        kept = [source.version, *self.versions(source.task, source.settings)][: VERSIONS_KEPT + 1]
        stale = sa.or_(SCORES.c.settings != source.settings, SCORES.c.version.not_in(kept))
        with self._tables.writing() as connection:
            connection.execute(sa.delete(SCORES).where(SCORES.c.task == source.task, stale))

    def _rows(self, select: sa.Select) -> list[sa.Row]:
        if not self.file.exists():
            return []
        with self._tables.reading() as connection:
            return list(connection.execute(select))


_SCORE = (SCORES.c.numbers, SCORES.c.embedding, SCORES.c.error)


def _conditions(source: ScoreSource) -> list[sa.ColumnElement[bool]]:
    columns: Mapping[str, str] = vars(source)
    return [SCORES.c[name] == value for name, value in columns.items()]
