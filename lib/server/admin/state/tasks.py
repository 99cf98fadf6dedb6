"""The tasks in a line each: what is served, what waits for a word, and whether there is anything to learn."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from lib.jobs.policy import TRAIN, new_labels
from lib.records.ledger import Ledger
from lib.tasks.app import TopoLabelApp
from lib.tasks.serving.weights import shelf

_counted: WeakKeyDictionary[Ledger, tuple[int, dict[str, int]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Standing:
    """A task.

    Args:
        name: Its name.
        served: The version that is served, "starter", or empty if nothing is.
        waiting: The version that awaits the admin's word; empty if none does.
        due: Accepted labels that no training of it has seen; None if it is not trained.
        busy: Whether a training of it waits or runs.
    """

    name: str
    served: str
    waiting: str
    due: int | None
    busy: bool


def tasks(app: TopoLabelApp) -> list[Standing]:
    """Return how every task of an app stands."""
    busy = {job.subject for job in app.queue.jobs.list(TRAIN, going=True)}
    due = _due(app.queue.ledger, list(app.trainers))
    shelves = [shelf(app.app_dir, task) for task in app.spec.tasks]
    return [Standing(each.task, each.served, each.waiting, due.get(each.task), each.task in busy) for each in shelves]


def _due(ledger: Ledger, names: list[str]) -> dict[str, int]:
    """Return the new labels of tasks; counted again only once the ledger has grown."""
    last = ledger.last()
    if ledger not in _counted or _counted[ledger][0] != last:
        _counted[ledger] = last, {name: new_labels(ledger, name) for name in names}
    return _counted[ledger][1]
