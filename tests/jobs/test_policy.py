"""The policy of automatic training, with times set by the tests."""

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from lib.jobs.policy import PolicySpec, blocking_reason, count_new_labels, submit_due_trainings
from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE

NOON, NIGHT = datetime(2026, 3, 2, 12, 0), datetime(2026, 3, 2, 23, 30)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


def accept(queue: Queue, count: int, source: str = "submitted", tag: str = "final") -> None:
    for number in range(count):
        queue.ledger.append("label", f"ct_{number}", {"tag": tag, "source": source})


def due(
    queue: Queue, policy: PolicySpec, now: datetime = NOON, tasks: tuple[str, ...] = ("tubes",), **students: str
) -> list[str]:
    return [job.subject for job in submit_due_trainings(policy, queue, tasks, now, students.items())]


def run(queue: Queue) -> None:
    """Claim and finish the last job, as a worker does."""
    job = queue.jobs.list()[-1]
    queue.jobs.claim(job.id)
    queue.jobs.finish(job.id, DONE)


def test_by_default_no_training_begins_automatically(queue: Queue) -> None:
    accept(queue, 20)
    assert due(queue, PolicySpec()) == [] and blocking_reason(PolicySpec(), NOON) == ""


def test_a_thousand_labels_at_once_make_one_job(queue: Queue) -> None:
    policy, made = PolicySpec(retrain_after=5), []
    with queue.ledger.writing() as writer:
        for number in range(1000):
            writer.append("label", f"ct_{number % 40}", {"tag": "final", "source": "submitted"})
    for _ in range(20):
        made += due(queue, policy)
    assert made == ["tubes"] == [job.subject for job in queue.jobs.list()]
    run(queue)
    assert due(queue, policy) == [], "that job trained on all labels"
    accept(queue, 4)
    assert due(queue, policy) == []
    accept(queue, 1)
    assert due(queue, policy) == ["tubes"] and queue.jobs.list()[-1].origin == "policy"


def test_only_submitted_final_labels_count(queue: Queue) -> None:
    accept(queue, 9, source="predicted")
    accept(queue, 9, source="found")
    accept(queue, 9, tag="original")
    assert due(queue, PolicySpec(retrain_after=1)) == []


def test_labels_that_came_while_a_job_waited_count_for_the_next_job(queue: Queue) -> None:
    policy = PolicySpec(retrain_after=3)
    accept(queue, 3)
    assert due(queue, policy) == ["tubes"]
    accept(queue, 3)
    assert due(queue, policy) == [], "a task has one training job at a time"
    run(queue)
    assert due(queue, policy) == ["tubes"]


def test_every_due_task_gets_its_own_job(queue: Queue) -> None:
    accept(queue, 2)
    assert due(queue, PolicySpec(retrain_after=2), tasks=("tubes", "bones")) == ["tubes", "bones"]


def test_a_window_may_cross_midnight() -> None:
    policy = PolicySpec(retrain_after=1, window=(time(22), time(5)))
    assert blocking_reason(policy, NOON) == "automatic training begins between 22:00 and 05:00"
    assert not blocking_reason(policy, NIGHT) and not blocking_reason(policy, NIGHT + timedelta(hours=5))
    assert blocking_reason(policy, NIGHT + timedelta(hours=5, minutes=30))
    day = PolicySpec(retrain_after=1, window=(time(8), time(17)))
    assert not blocking_reason(day, NOON) and blocking_reason(day, NIGHT)


def test_no_training_begins_before_a_deadline_and_one_may_after_it(queue: Queue) -> None:
    accept(queue, 1)
    policy = PolicySpec(retrain_after=1, deadlines=(NOON,), quiet_hours=12.0)
    for hours, held in ((-13, False), (-11, True), (-1, True), (1, False)):
        assert bool(blocking_reason(policy, NOON + timedelta(hours=hours))) == held
    assert due(queue, policy, NOON - timedelta(hours=1)) == [] and due(queue, policy, NOON + timedelta(hours=1))


def test_labels_since_the_last_successful_training_are_counted(queue: Queue) -> None:
    accept(queue, 2, source="found")
    assert count_new_labels(queue.ledger, "tubes") == 2
    queue.ledger.append("job", "tubes", {"job": "a", "kind": "train", "state": "started"})
    assert count_new_labels(queue.ledger, "tubes") == 2, "a training that has not succeeded does not count"
    accept(queue, 1)
    queue.ledger.append("job", "tubes", {"job": "a", "kind": "train", "state": "done"})
    assert count_new_labels(queue.ledger, "tubes") == 1 and count_new_labels(queue.ledger, "bones") == 3


def decide(queue: Queue, verdict: str, task: str = "teacher") -> None:
    queue.ledger.append("decision", task, {"verdict": verdict, "version": "v1"})


def test_a_student_is_submitted_once_after_its_teacher_was_published(queue: Queue) -> None:
    policy, both = PolicySpec(), ("teacher", "pupil")
    for verdict in ("hold", "reject", "rollback"):
        decide(queue, verdict)
    decide(queue, "publish", task="pupil")
    assert due(queue, policy, tasks=both, teacher="pupil") == []
    for verdict in ("publish", "promote"):
        decide(queue, verdict)
        assert due(queue, policy, tasks=both, teacher="pupil") == ["pupil"]
        assert due(queue, policy, tasks=both, teacher="pupil") == [], "its training waits"
        run(queue)
        assert due(queue, policy, tasks=both, teacher="pupil") == [], "it was trained with that teacher"
    assert due(queue, policy, tasks=("teacher",), teacher="pupil") == [], "the student is not a task to train"


def test_a_teacher_published_during_its_students_training_makes_the_next_job(queue: Queue) -> None:
    decide(queue, "publish")
    assert due(queue, PolicySpec(), tasks=("pupil",), teacher="pupil") == ["pupil"]
    queue.jobs.claim(queue.jobs.list()[-1].id)
    decide(queue, "publish")
    assert due(queue, PolicySpec(), tasks=("pupil",), teacher="pupil") == []
    queue.jobs.finish(queue.jobs.list()[-1].id, DONE)
    assert due(queue, PolicySpec(), tasks=("pupil",), teacher="pupil") == ["pupil"]


def test_a_student_obeys_the_window_and_the_deadline(queue: Queue) -> None:
    decide(queue, "publish")
    nightly, quiet = PolicySpec(window=(time(22), time(5))), PolicySpec(deadlines=(NOON + timedelta(hours=1),))
    for policy in (nightly, quiet):
        assert due(queue, policy, tasks=("pupil",), teacher="pupil") == []
    assert due(queue, nightly, NIGHT, tasks=("pupil",), teacher="pupil") == ["pupil"]
