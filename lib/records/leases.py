"""Which case is with whom: what one annotator was given goes to nobody else until it is saved or time is up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from lib.records import engine
from lib.records.ledger import FOLDER

FILE = "leases.db"
SCHEMA = sa.MetaData()
LEASES = sa.Table(
    "leases",
    SCHEMA,
    sa.Column("image", sa.Text, primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)
SKIPS = sa.Table(
    "skips",
    SCHEMA,
    sa.Column("image", sa.Text, primary_key=True),
    sa.Column("who", sa.Text, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
)


@dataclass(frozen=True)
class Lease:
    """One case at work.

    Args:
        image: The case.
        who: Whom it was given to.
        since: When, seconds since the epoch.
        until: When it is free again, unless it is worked on.
    """

    image: str
    who: str
    since: float
    until: float


class Leases:
    """The leases of one app, in a table of their own: threads, processes and restarts share it.

    Args:
        app_dir: The app's folder; the table is ``records/leases.db`` there.
        seconds: How long a lease lasts from the last sign of work on.
        clock: Seconds since the epoch.
    """

    def __init__(self, app_dir: str | Path, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self.file, self.seconds, self._clock = Path(app_dir) / FOLDER / FILE, seconds, clock
        self._tables = engine.Tables(self.file, SCHEMA, "the leases")

    def offer(self, who: str, images: Sequence[str]) -> str | None:
        """Give somebody the first of some cases that is with nobody else; what they had, they skip by asking again.

        What was skipped comes back when nothing else is left, the case skipped longest ago first.

        Args:
            who: The annotator.
            images: The cases that need work, the best first.
        Returns:
            The case; None if there is none, or all are with others.
        Raises:
            LedgerUnavailable: If the table cannot be written.
        """
        now = self._clock()
        with self._tables.writing() as connection:
            self._tidy(connection, now)
            for image in connection.execute(sa.select(LEASES.c.image).where(LEASES.c.who == who)).scalars().all():
                connection.execute(sa.delete(SKIPS).where(SKIPS.c.image == image, SKIPS.c.who == who))
                connection.execute(sa.insert(SKIPS).values(image=image, who=who, at=now))
            connection.execute(sa.delete(LEASES).where(LEASES.c.who == who))
            taken = set(connection.execute(sa.select(LEASES.c.image)).scalars())
            rows = connection.execute(sa.select(SKIPS.c.image, SKIPS.c.at).where(SKIPS.c.who == who))
            skipped = {row.image: row.at for row in rows}
            # A stable sort: among those never skipped, the order stays the strategy's.
            free = sorted((each for each in images if each not in taken), key=lambda each: skipped.get(each, 0.0))
            if not free:
                return None
            connection.execute(sa.insert(LEASES).values(image=free[0], who=who, since=now, until=now + self.seconds))
            return free[0]

    def renew(self, image: str) -> None:
        """Note that somebody works on a case, if it is leased; a tenth of a lease may pass unnoted."""
        now = self._clock()
        # A click is answered in milliseconds: most of them only look.
        if any(lease.image == image and lease.until < now + 0.9 * self.seconds for lease in self.held()):
            with self._tables.writing() as connection:
                due = LEASES.c.image == image, LEASES.c.until > now
                connection.execute(sa.update(LEASES).where(*due).values(until=now + self.seconds))

    def release(self, image: str) -> None:
        """End the lease of a case, and forget who skipped it: it is done."""
        if not self.file.exists():
            return
        with self._tables.writing() as connection:
            for table in (LEASES, SKIPS):
                connection.execute(sa.delete(table).where(table.c.image == image))

    def held(self) -> list[Lease]:
        """Return the leases that last, the one that ends first first."""
        if not self.file.exists():
            return []
        now = self._clock()
        with self._tables.reading() as connection:
            rows = connection.execute(sa.select(LEASES).where(LEASES.c.until > now).order_by(LEASES.c.until))
            return [Lease(**row) for row in rows.mappings()]

    def _tidy(self, connection: sa.Connection, now: float) -> None:
        connection.execute(sa.delete(LEASES).where(LEASES.c.until <= now))
        # A clock that was set back must not make leases that outlast everybody.
        late = LEASES.c.until > now + self.seconds
        connection.execute(sa.update(LEASES).where(late).values(until=now + self.seconds))
