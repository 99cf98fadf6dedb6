"""Policy of automatic training: train after a number of new labels, and a student after its teacher's publication.

The policy can restrict trainings to hours of the day and forbid them before deadlines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from lib.jobs.gate import PUBLISH
from lib.jobs.publish import PROMOTE
from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import UNFINISHED, Job
from lib.records.labels import FOUND, SUBMITTED
from lib.records.ledger import Ledger

TRAIN = "train"
FINAL = "final"


@dataclass(frozen=True)
class PolicySpec:
    """Policy of an app for automatic trainings. A user may start a training at any time.

    Args:
        retrain_after: Number of new labels after which a task is trained; 0 trains only students automatically.
        window: Local times between which a training may begin, across midnight if the second is earlier; empty for
            any time.
        deadlines: Local times before which no training begins.
        quiet_hours: Hours before each deadline in which no training begins.
    """

    retrain_after: int = 0
    window: tuple[time, ...] = ()
    deadlines: tuple[datetime, ...] = ()
    quiet_hours: float = 24.0


def blocking_reason(policy: PolicySpec, now: datetime) -> str:
    """Return the reason why no automatic training may begin now; empty if one may. The policy waits without showing it.

    Args:
        policy: Policy of the app.
        now: Local time.
    """
    if policy.window and not _is_within(now.time(), *policy.window):
        return f"automatic training begins between {policy.window[0]:%H:%M} and {policy.window[1]:%H:%M}"
    for deadline in policy.deadlines:
        moment = now if deadline.tzinfo is None else now.astimezone()
        if timedelta(0) <= deadline - moment <= timedelta(hours=policy.quiet_hours):
            return f"no automatic training begins before the deadline of {deadline:%Y-%m-%d %H:%M}"
    return ""


def _is_within(now: time, begins: time, ends: time) -> bool:
    return begins <= now < ends if begins <= ends else now >= begins or now < ends


def count_new_labels(ledger: Ledger, task: str, jobs: Sequence[Job] | None = None) -> int:
    """Return the number of final labels since the last training of a task.

    Args:
        ledger: Ledger of the app.
        task: Name of the task.
        jobs: Training jobs of the queue. With them, submitted labels since the last training count, even if that
            training failed. None: submitted labels and labels found in the store count, since the last training that
            succeeded.
    """
    sources = (SUBMITTED, FOUND) if jobs is None else (SUBMITTED,)
    labels = ledger.rows("label", after=_last_trained(ledger, task, jobs))
    return sum(row.body.get("source") in sources and row.body["tag"] == FINAL for row in labels)


def _last_trained(ledger: Ledger, task: str, jobs: Sequence[Job] | None) -> int:
    """Return the number of the ledger row at which the last training began; see `count_new_labels`."""
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


def submit_due_trainings(
    policy: PolicySpec, queue: Queue, tasks: Sequence[str], now: datetime, students: Iterable[tuple[str, str]] = ()
) -> list[Job]:
    """Submit a training for every task that is due, if the policy allows a training to begin now.

    A task is due after enough new labels, and a student also after its teacher was published. A task gets one job, and
    no job while its training waits or runs.

    Args:
        policy: Policy of the app.
        queue: Queue of the app.
        tasks: Names of the tasks that can be trained.
        now: Local time.
        students: Pairs (name of the teacher task, name of the student task).
    """
    if blocking_reason(policy, now):
        return []
    jobs, pairs = queue.jobs.list(TRAIN), list(students)
    busy = {job.subject for job in jobs if job.status in UNFINISHED}

    def is_due(task: str) -> bool:
        enough = policy.retrain_after and count_new_labels(queue.ledger, task, jobs) >= policy.retrain_after
        teachers = [teacher for teacher, student in pairs if student == task]
        return bool(enough) or any(
            _was_published(queue.ledger, teacher, _last_trained(queue.ledger, task, jobs)) for teacher in teachers
        )

    return [
        queue.submit(TRAIN, task, {"model": task}, origin="policy", once=True)
        for task in tasks
        if task not in busy and is_due(task)
    ]


def _was_published(ledger: Ledger, task: str, after: int) -> bool:
    return any(row.body["verdict"] in (PUBLISH, PROMOTE) for row in ledger.rows("decision", task, after=after))
