"""Record in the ledger that a job began and how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lib.jobs.policy import TRAIN
from lib.jobs.queue.run import Stopped
from lib.records.engine import LedgerUnavailable
from lib.records.ledger import Ledger


@contextmanager
def recorded(
    ledger: Ledger, subject: str, name: str, *, kind: str = TRAIN, resumed: bool = False
) -> Iterator[dict[str, Any]]:
    """Write a row before the block and one after it.

    Args:
        ledger: The app's.
        subject: The task, or what else the job is about.
        name: The job's.
        kind: Its kind.
        resumed: Whether it goes on where it was interrupted.
    Yields:
        A dict; what the block puts there is in the last row.
    """
    about = {"job": name, "kind": kind}
    ledger.append("job", subject, about | {"state": "resumed" if resumed else "started"})
    facts: dict[str, Any] = {}
    try:
        yield facts
    except BaseException as error:
        state = "stopped" if isinstance(error, Stopped) else "failed"
        facts |= {"reason": f"{type(error).__name__}: {error}"}
        # The ledger may be what failed; the first error is the one to tell.
        with suppress(LedgerUnavailable):
            ledger.append("job", subject, about | {"state": state, **facts})
        raise
    ledger.append("job", subject, about | {"state": "done", **facts})
