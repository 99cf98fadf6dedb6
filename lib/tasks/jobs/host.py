"""What jobs need of the app that they run for: its tasks, its studies, its queue."""

from collections.abc import Mapping
from typing import Any, Protocol

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from lib.jobs.queue.broker import Queue
from lib.records.ledger import Ledger
from lib.tasks.serving.served_infer import ServedInfer
from lib.tasks.spec import AppSpec
from lib.tasks.strategies.case_scores import CaseScores
from lib.tasks.training.train import RecipeTrain


class JobHost(Protocol):
    """The app, as jobs see it; `lib.tasks.app.TopoLabelApp` is one.

    Attributes:
        app_dir: The app's folder.
        studies: Folder of studies, or the address of a DICOMweb server.
        spec: What app.toml declares.
        queue: The jobs.
        ledger: The records.
    """

    app_dir: str
    studies: str
    spec: AppSpec
    queue: Queue
    ledger: Ledger

    @property
    def case_scores(self) -> Mapping[str, CaseScores]:
        """The scores of cases, by task."""
        ...

    @property
    def infers(self) -> Mapping[str, ServedInfer]:
        """The infer tasks, by name."""
        ...

    @property
    def trainers(self) -> Mapping[str, RecipeTrain]:
        """The train tasks, by name."""
        ...

    @property
    def scorings(self) -> Mapping[str, ScoringMethod]:
        """The scoring methods, by name."""
        ...

    def datastore(self) -> Datastore:
        """Return the studies."""
        ...

    def info(self) -> dict[str, Any]:
        """Return what MONAI Label lists of the app."""
        ...

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Answer one inference request."""
        ...

    def scoring(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Run one scoring method."""
        ...
