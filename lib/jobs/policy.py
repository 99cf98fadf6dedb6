"""When an app trains by itself: after so many accepted labels, or for a student after its teacher was published.

At night if it is to, and not before a deadline.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from lib.jobs.gate import PUBLISH
from lib.jobs.publish import PROMOTE
from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import GOING, Job
from lib.records.labels import FOUND, SUBMITTED
from lib.records.ledger import Ledger

TRAIN = "train"
FINAL = "final"


@dataclass(frozen=True)
class PolicySpec:
    """What an app allows its own initiative. A person's word trains at any time.

    Args:
        retrain_after: Accepted labels that make a task be trained; 0 trains nothing but students by itself.
        window: Local times between which a training may begin, over midnight if the second is the earlier; empty for
            any time.
        deadlines: Local moments before which the machine and the model are left in peace.
        quiet_hours: For so long before each of them.
    """

    retrain_after: int = 0
    window: tuple[time, ...] = ()
    deadlines: tuple[datetime, ...] = ()
    quiet_hours: float = 24.0


def hindrance(policy: PolicySpec, now: datetime) -> str:
    """Return why no training may begin by itself now; empty if one may.

    Args:
        policy: The app's.
        now: Local time.
    """
    if policy.window and not _within(now.time(), *policy.window):
        return f"training by itself begins between {policy.window[0]:%H:%M} and {policy.window[1]:%H:%M}"
    for deadline in policy.deadlines:
        moment = now if deadline.tzinfo is None else now.astimezone()
        if timedelta(0) <= deadline - moment <= timedelta(hours=policy.quiet_hours):
            return f"the deadline of {deadline:%Y-%m-%d %H:%M} holds"
    return ""


def _within(now: time, begins: time, ends: time) -> bool:
    return begins <= now < ends if begins <= ends else now >= begins or now < ends


def new_labels(ledger: Ledger, task: str, jobs: Sequence[Job] | None = None) -> int:
    """Return how many labels were accepted since a task was last trained.

    Args:
        ledger: The app's.
        task: The task's name.
        jobs: The train jobs of the queue, to count from the last one whatever came of it; without them, labels count
            from the last training that ended well, those that were found in the store included.
    """
    sources = (SUBMITTED, FOUND) if jobs is None else (SUBMITTED,)
    labels = ledger.rows("label", after=_last_trained(ledger, task, jobs))
    return sum(row.body.get("source") in sources and row.body["tag"] == FINAL for row in labels)


def _last_trained(ledger: Ledger, task: str, jobs: Sequence[Job] | None) -> int:
    """Return the row with which the last training began; see `new_labels`."""
    rows = ledger.rows("job", task)
    done = {row.body["job"] for row in rows if row.body["state"] == "done"}
    begun = [
        row.seq
        for row in rows
        if row.body["state"] == "started"
        and row.body.get("kind", TRAIN) == TRAIN
        and (jobs is not None or row.body["job"] in done)
    ]
    return max([0, *begun, *(job.mark for job in jobs or () if job.subject == task)])


def train_what_is_due(
    policy: PolicySpec, queue: Queue, tasks: Sequence[str], now: datetime, lessons: Iterable[tuple[str, str]] = ()
) -> list[Job]:
    """Submit a training for every task that is due, if the policy lets one begin now.

    One is due with enough new labels, and a student once its teacher was published. However many labels came, a task
    gets one job; none, if it waits or is being trained already.

    Args:
        policy: The app's.
        queue: Its queue.
        tasks: Names of the tasks that can be trained.
        now: Local time.
        lessons: Pairs of a teacher's name and a student's.
    """
    if hindrance(policy, now):
        return []
    jobs, pairs = queue.jobs.list(TRAIN), list(lessons)
    busy = {job.subject for job in jobs if job.status in GOING}

    def due(task: str) -> bool:
        enough = policy.retrain_after and new_labels(queue.ledger, task, jobs) >= policy.retrain_after
        teachers = [teacher for teacher, student in pairs if student == task]
        return bool(enough) or any(
            _published(queue.ledger, each, _last_trained(queue.ledger, task, jobs)) for each in teachers
        )

    return [
        queue.submit(TRAIN, task, {"model": task}, origin="policy", once=True)
        for task in tasks
        if task not in busy and due(task)
    ]


def _published(ledger: Ledger, task: str, after: int) -> bool:
    return any(row.body["verdict"] in (PUBLISH, PROMOTE) for row in ledger.rows("decision", task, after=after))
