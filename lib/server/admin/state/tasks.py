"""The tasks of the Queue page: the served version, the version that waits for a decision, and the new labels."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from lib.jobs.policy import TRAIN, count_new_labels
from lib.records.ledger import Ledger
from lib.tasks.app import TopoLabelApp
from lib.tasks.serving.weights import open_task_versions

_counted: WeakKeyDictionary[Ledger, tuple[int, dict[str, int]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class TaskStatus:
    """The state of a task.

    Args:
        name: Name of the task.
        served: Name of the served version, "starter", or empty if no version is served.
        waiting: Name of the version that waits for an admin's decision; empty if there is none.
        new_labels: Number of labels that no training of the task has used; None if the task is not trained.
        training: Whether a training of the task waits or runs.
    """

    name: str
    served: str
    waiting: str
    new_labels: int | None
    training: bool


def tasks(app: TopoLabelApp) -> list[TaskStatus]:
    """Return the state of every task of an app."""
    training = {job.subject for job in app.queue.jobs.list(TRAIN, unfinished=True)}
    counts = _count_new_labels(app.queue.ledger, list(app.trainers))
    places = [open_task_versions(app.app_dir, task) for task in app.spec.tasks]
    return [
        TaskStatus(place.task, place.served, place.waiting, counts.get(place.task), place.task in training)
        for place in places
    ]


def _count_new_labels(ledger: Ledger, names: list[str]) -> dict[str, int]:
    """Return the number of new labels by task; counted again only if the ledger has new rows."""
    last = ledger.last()
    if ledger not in _counted or _counted[ledger][0] != last:
        _counted[ledger] = last, {name: count_new_labels(ledger, name) for name in names}
    return _counted[ledger][1]
