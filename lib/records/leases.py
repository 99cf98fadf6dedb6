"""Leases of cases: a case given to one annotator goes to no other until it is saved or the lease times out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from lib.records import database as engine
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
    """Lease of one case.

    Args:
        image: Name of the case's image.
        who: Name of the annotator.
        since: Start of the lease, seconds since the epoch.
        until: End of the lease, seconds since the epoch; renewed while the annotator works.
    """

    image: str
    who: str
    since: float
    until: float


class Leases:
    """Leases of one app, in a table that threads and processes share and that survives restarts.

    Args:
        app_dir: Folder of the app; the table is ``records/leases.db`` there.
        seconds: Duration of a lease after the last sign of work, in seconds.
        clock: Returns the seconds since the epoch.
    """

    def __init__(self, app_dir: str | Path, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self.file, self.seconds, self._clock = Path(app_dir) / FOLDER / FILE, seconds, clock
        self._tables = engine.Tables(self.file, SCHEMA, "the leases")

    def lease_next(self, who: str, images: Sequence[str]) -> str | None:
        """Lease to an annotator the first case that no other annotator has.

        An annotator who asks again skips the leased case. Skipped cases come last, the one skipped longest ago first.

        Args:
            who: Name of the annotator.
            images: Names of the cases that need work, the best first.
        Returns:
            Name of the leased case; None if no case is free.
        Raises:
            LedgerUnavailable: If the table cannot be written.
        """
        now = self._clock()
        with self._tables.writing() as connection:
            self._delete_expired(connection, now)
            for image in connection.execute(sa.select(LEASES.c.image).where(LEASES.c.who == who)).scalars().all():
                connection.execute(sa.delete(SKIPS).where(SKIPS.c.image == image, SKIPS.c.who == who))
                connection.execute(sa.insert(SKIPS).values(image=image, who=who, at=now))
            connection.execute(sa.delete(LEASES).where(LEASES.c.who == who))
            taken = set(connection.execute(sa.select(LEASES.c.image)).scalars())
            rows = connection.execute(sa.select(SKIPS.c.image, SKIPS.c.at).where(SKIPS.c.who == who))
            skipped = {row.image: row.at for row in rows}
            # The sort is stable: cases that were never skipped keep the order of the strategy.
            free = sorted((image for image in images if image not in taken), key=lambda name: skipped.get(name, 0.0))
            if not free:
                return None
            connection.execute(sa.insert(LEASES).values(image=free[0], who=who, since=now, until=now + self.seconds))
            return free[0]

    def renew(self, image: str) -> None:
        """Extend the lease of a case that is being worked on, once a tenth of the lease has passed."""
        now = self._clock()
        # A click is answered in milliseconds: most clicks read the table and do not write to it.
        if any(lease.image == image and lease.until < now + 0.9 * self.seconds for lease in self.list_active()):
            with self._tables.writing() as connection:
                active = LEASES.c.image == image, LEASES.c.until > now
                connection.execute(sa.update(LEASES).where(*active).values(until=now + self.seconds))

    def release(self, image: str) -> None:
        """End the lease of a saved case, and delete the record of who skipped it."""
        if not self.file.exists():
            return
        with self._tables.writing() as connection:
            for table in (LEASES, SKIPS):
                connection.execute(sa.delete(table).where(table.c.image == image))

    def list_active(self) -> list[Lease]:
        """Return the leases that have not timed out, sorted by their end."""
        if not self.file.exists():
            return []
        now = self._clock()
        with self._tables.reading() as connection:
            rows = connection.execute(sa.select(LEASES).where(LEASES.c.until > now).order_by(LEASES.c.until))
            return [Lease(**row) for row in rows.mappings()]

    def _delete_expired(self, connection: sa.Connection, now: float) -> None:
        connection.execute(sa.delete(LEASES).where(LEASES.c.until <= now))
        # After the clock was set back, the end of a lease may lie too far in the future.
        late = LEASES.c.until > now + self.seconds
        connection.execute(sa.update(LEASES).where(late).values(until=now + self.seconds))
