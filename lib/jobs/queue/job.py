"""A job as the queue knows it, and its states, which are MONAI Label's words."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SUBMITTED, RUNNING, DONE, ERROR, STOPPED = "SUBMITTED", "RUNNING", "DONE", "ERROR", "STOPPED"
GOING = (SUBMITTED, RUNNING)
"""States of a job that is not over."""


@dataclass(frozen=True)
class Job:
    """One thing to do.

    Args:
        number: Its place in the order of submission.
        id: Its name.
        kind: What sort of job, such as "train".
        subject: What it is about: a task, or a scoring method.
        request: What was asked, JSON.
        origin: Who asked: a user, a policy; empty if unknown.
        status: One of the words above.
        created: When it was submitted, seconds since the epoch.
        started: When it was last begun; None if it waits.
        ended: When it was over.
        progress: Where it stands: ``fraction``, ``text``, ``eta_seconds``, and what its kind adds.
        reason: Why it failed or is not over.
        result: What came of it, JSON.
        crashes: How often in a row it was killed without getting any further.
        mark: The ledger's last row when it was submitted.
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
        """How much of it is done, in [0, 1]."""
        return float(self.progress.get("fraction") or 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        progress = {key: self.progress.get(key) for key in ("fraction", "text", "eta_seconds", "device")}
        # What a job tells last is a moment before its end, and one that does not run has no time left.
        progress |= {} if self.status == RUNNING else {"eta_seconds": None}
        progress |= {"fraction": 1.0} if self.status == DONE else {}
        return {
            "id": self.id,
            "kind": self.kind,
            "subject": self.subject,
            "status": self.status,
            "origin": self.origin,
            "submitted": said(self.created),
            "started": said(self.started),
            "ended": said(self.ended),
            "progress": {key: value for key, value in progress.items() if value is not None},
            "reason": self.reason,
        }


def said(moment: float | None) -> str | None:
    """Return a moment as MONAI Label writes it, in local time."""
    return None if moment is None else datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")
