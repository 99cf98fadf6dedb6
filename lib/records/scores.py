"""What a model version made of each case: computed once by a job, and read by whoever asks for the next study."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lib.records import engine
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
class Maker:
    """Who computed a score.

    Args:
        task: The task's name.
        version: The version of its weights.
        settings: Whatever else the numbers depend on.
    """

    task: str
    version: str
    settings: str


@dataclass(frozen=True)
class CaseScore:
    """A case as a version sees it.

    Args:
        numbers: As `lib.evaluation.selection.case_scores` has them; None where only the embedding was wanted.
        embedding: ``(E,)``; None if there is none.
        error: Why there is neither; empty if there is.
    """

    numbers: dict[str, Any] | None = None
    embedding: list[float] | None = None
    error: str = ""

    @property
    def done(self) -> bool:
        """Whether to compute it again would tell no more."""
        return self.numbers is not None or bool(self.error)


class Scores:
    """The scores of one app, in a table of their own: the server reads what jobs write.

    An image is known by its bytes. Names only lead to them, each with a stamp that changes when its file does.

    Args:
        app_dir: The app's folder; the table is ``records/scores.db`` there.
    """

    def __init__(self, app_dir: str | Path) -> None:
        self.file = Path(app_dir) / FOLDER / FILE
        self._tables = engine.Tables(self.file, SCHEMA, "the scores")

    def name(self, image: str, stamp: str, sha256: str) -> None:
        """Note which bytes are behind a name now."""
        with self._tables.writing() as connection:
            connection.execute(sa.delete(IMAGES).where(IMAGES.c.image == image))
            connection.execute(sa.insert(IMAGES).values(image=image, stamp=stamp, sha256=sha256))

    def known(self, image: str, stamp: str) -> str:
        """Return the SHA-256 behind a name, empty if it is not known."""
        same = sa.select(IMAGES.c.sha256).where(IMAGES.c.image == image, IMAGES.c.stamp == stamp)
        return next(iter(self._rows(same)), [""])[0]

    def put(self, sha256: str, maker: Maker, score: CaseScore) -> None:
        """Keep a score in the place of a former one."""
        key = {"sha256": sha256, **vars(maker)}
        with self._tables.writing() as connection:
            connection.execute(sa.delete(SCORES).where(*(SCORES.c[name] == value for name, value in key.items())))
            connection.execute(sa.insert(SCORES).values(**key, at=time.time(), **vars(score)))

    def get(self, sha256: str, maker: Maker) -> CaseScore | None:
        """Return a score, None if there is none."""
        found = self._rows(sa.select(*_SCORE).where(SCORES.c.sha256 == sha256, *_by(maker)))
        return CaseScore(*found[0]) if found else None

    def of(self, maker: Maker) -> dict[str, tuple[str, CaseScore]]:
        """Return the stamp and the score of each image that somebody scored, by its name."""
        both = sa.select(IMAGES.c.image, IMAGES.c.stamp, *_SCORE).join(SCORES, IMAGES.c.sha256 == SCORES.c.sha256)
        return {image: (stamp, CaseScore(*rest)) for image, stamp, *rest in self._rows(both.where(*_by(maker)))}

    def versions(self, task: str, settings: str) -> list[str]:
        """Return the versions that scored something, the one at work last first."""
        last = sa.func.max(SCORES.c.at)
        mine = SCORES.c.task == task, SCORES.c.settings == settings
        chosen = sa.select(SCORES.c.version).where(*mine).group_by(SCORES.c.version).order_by(last.desc())
        return [row[0] for row in self._rows(chosen)]

    def tidy(self, maker: Maker) -> None:
        """Forget the scores that nobody will rank by: of other settings, and of versions long replaced."""
        kept = [maker.version, *self.versions(maker.task, maker.settings)][: VERSIONS_KEPT + 1]
        stale = sa.or_(SCORES.c.settings != maker.settings, SCORES.c.version.not_in(kept))
        with self._tables.writing() as connection:
            connection.execute(sa.delete(SCORES).where(SCORES.c.task == maker.task, stale))

    def _rows(self, select: sa.Select) -> list[sa.Row]:
        if not self.file.exists():
            return []
        with self._tables.reading() as connection:
            return list(connection.execute(select))


_SCORE = (SCORES.c.numbers, SCORES.c.embedding, SCORES.c.error)


def _by(maker: Maker) -> list[sa.ColumnElement[bool]]:
    asked: Mapping[str, str] = vars(maker)
    return [SCORES.c[name] == value for name, value in asked.items()]
