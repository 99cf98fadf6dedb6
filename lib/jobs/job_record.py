"""Record the beginning and the end of a job in the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lib.jobs.policy import TRAIN
from lib.jobs.queue.run import Stopped
from lib.records.database import LedgerUnavailable
from lib.records.ledger import Ledger


@contextmanager
def record_job(
    ledger: Ledger, subject: str, name: str, *, kind: str = TRAIN, resumed: bool = False
) -> Iterator[dict[str, Any]]:
    """Write one row to the ledger before the block, and one after it.

    Args:
        ledger: Ledger of the app.
        subject: Subject of the job, such as the name of a task.
        name: Id of the job.
        kind: Kind of the job.
        resumed: Whether the job continues after an interruption.
    Yields:
        A dict; its entries at the end of the block go into the second row.
    """
    job = {"job": name, "kind": kind}
    ledger.append("job", subject, job | {"state": "resumed" if resumed else "started"})
    facts: dict[str, Any] = {}
    try:
        yield facts
    except BaseException as error:
        state = "stopped" if isinstance(error, Stopped) else "failed"
        facts |= {"reason": f"{type(error).__name__}: {error}"}
        # If the ledger itself fails, the first error is raised and not the second.
        with suppress(LedgerUnavailable):
            ledger.append("job", subject, job | {"state": state, **facts})
        raise
    ledger.append("job", subject, job | {"state": "done", **facts})
