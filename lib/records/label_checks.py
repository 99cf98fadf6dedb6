"""What the checks of label files found, so that a file is checked once and not at every start."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa

from lib.data.findings import Finding
from lib.records import database as engine
from lib.records.ledger import FOLDER

logger = logging.getLogger(__name__)

FILE = "label_checks.db"
SCHEMA = sa.MetaData()
CHECKS = sa.Table(
    "checks",
    SCHEMA,
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("remedy", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class LabelCheck:
    """The result of one check.

    Args:
        facts: Facts of the checked files, such as their sizes and times; the result holds for these only.
        finding: Why the label is refused; None if it is accepted.
    """

    facts: str
    finding: Finding | None = None


class LabelChecks:
    """Results of the checks of one app, in a table that several processes share.

    Args:
        app_dir: Folder of the app; the table is ``records/label_checks.db`` there.
    """

    def __init__(self, app_dir: str | Path) -> None:
        self.file = Path(app_dir) / FOLDER / FILE
        self._tables = engine.Tables(self.file, SCHEMA, "the checks of labels")
        self._known: dict[str, LabelCheck] | None = None

    def find(self, label: str, facts: str) -> LabelCheck | None:
        """Return the result for a label whose files have these facts; None if these files were not checked."""
        if self._known is None:
            self._known = self._read()
        known = self._known.get(label)
        return known if known is not None and known.facts == facts else None

    def put(self, checks: Mapping[str, LabelCheck]) -> None:
        """Keep results by label. A disk that cannot be written costs only that the labels are checked again later."""
        if self._known is None:
            self._known = self._read()
        self._known |= checks
        rows = [
            {"label": label, "facts": check.facts, **asdict(check.finding or Finding("", "", ""))}
            for label, check in checks.items()
        ]
        if not rows:
            return
        try:
            with self._tables.writing() as connection:
                connection.execute(
                    sa.delete(CHECKS).where(CHECKS.c.label == sa.bindparam("b_label")),
                    [{"b_label": row["label"]} for row in rows],
                )
                connection.execute(sa.insert(CHECKS), rows)
        except OSError as error:
            logger.warning("results of label checks are not kept: %s", error)

    def _read(self) -> dict[str, LabelCheck]:
        if not self.file.exists():
            return {}
        try:
            with self._tables.reading() as connection:
                rows = connection.execute(sa.select(CHECKS)).all()
        except OSError as error:
            logger.warning("labels are checked again: %s", error)
            return {}
        return {row.label: LabelCheck(row.facts, _finding(row)) for row in rows}


def _finding(row: sa.Row) -> Finding | None:
    return Finding(row.code, row.reason, row.remedy) if row.code else None
