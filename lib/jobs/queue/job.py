"""A job of the queue and its states, which have MONAI Label's names."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SUBMITTED, RUNNING, DONE, ERROR, STOPPED = "SUBMITTED", "RUNNING", "DONE", "ERROR", "STOPPED"
UNFINISHED = (SUBMITTED, RUNNING)
"""States of a job that has not ended."""


@dataclass(frozen=True)
class Job:
    """One job of the queue.

    Args:
        number: Number in the order of submission.
        id: Unique id.
        kind: Kind of job, such as "train".
        subject: Name of the task or scoring method that the job is for.
        request: Request of the client, as JSON.
        origin: User or policy that submitted the job; empty if unknown.
        status: `SUBMITTED`, `RUNNING`, `DONE`, `ERROR` or `STOPPED`.
        created: Time of submission, seconds since the epoch.
        started: Time of the last start, seconds since the epoch; None while the job waits.
        ended: Time of the end, seconds since the epoch; None before it.
        progress: Last reported progress: ``fraction``, ``text``, ``eta_seconds``, and entries of the job's kind.
        reason: Reason of a failure, a stop or an interruption.
        result: Result of the job, as JSON.
        crashes: Number of kills in a row without progress in between.
        mark: Number of the ledger's last row at submission.
    """

    number: int
    id: str
    kind: str
    subject: str
    request: dict[str, Any]
    origin: str
    status: str
    created: float
    started: float | None
    ended: float | None
    progress: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    result: Any = None
    crashes: int = 0
    mark: int = 0

    @property
    def fraction(self) -> float:
        """Completed fraction of the job, in [0, 1]."""
        return float(self.progress.get("fraction") or 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Return the job as a JSON object, without its request and result."""
        progress = {key: self.progress.get(key) for key in ("fraction", "text", "eta_seconds", "device")}
        # The last report comes a moment before the end, and a job that does not run has no remaining time.
        progress |= {} if self.status == RUNNING else {"eta_seconds": None}
        progress |= {"fraction": 1.0} if self.status == DONE else {}
        return {
            "id": self.id,
            "kind": self.kind,
            "subject": self.subject,
            "status": self.status,
            "origin": self.origin,
            "submitted": format_timestamp(self.created),
            "started": format_timestamp(self.started),
            "ended": format_timestamp(self.ended),
            "progress": {key: value for key, value in progress.items() if value is not None},
            "reason": self.reason,
        }


def format_timestamp(seconds: float | None) -> str | None:
    """Return a time in MONAI Label's format, in the local time zone.

    Args:
        seconds: Seconds since the epoch; None for no time.
    """
    return None if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
