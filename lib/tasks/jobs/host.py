"""The interface through which jobs use their app: its tasks, studies and queue."""

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
    """The part of an app that jobs use; `lib.tasks.app.TopoLabelApp` implements it.

    Attributes:
        app_dir: The app's folder.
        studies: Folder of studies, or the URL of a DICOMweb server.
        spec: Specification of the app.
        queue: Queue of the app's jobs.
        ledger: Ledger of the app.
    """

    app_dir: str
    studies: str
    spec: AppSpec
    queue: Queue
    ledger: Ledger

    @property
    def case_scores(self) -> Mapping[str, CaseScores]:
        """Case scores by task name."""
        ...

    @property
    def infers(self) -> Mapping[str, ServedInfer]:
        """Infer tasks by name."""
        ...

    @property
    def trainers(self) -> Mapping[str, RecipeTrain]:
        """Train tasks by name."""
        ...

    @property
    def scorings(self) -> Mapping[str, ScoringMethod]:
        """Scoring methods by name."""
        ...

    def datastore(self) -> Datastore:
        """Return the store of studies."""
        ...

    def info(self) -> dict[str, Any]:
        """Return MONAI Label's facts about the app."""
        ...

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Run one inference request and return the result."""
        ...

    def scoring(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Run one scoring method."""
        ...
