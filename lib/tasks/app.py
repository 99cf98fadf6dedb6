"""Any app.toml as a MONAI Label app."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lib.jobs.policy import TRAIN
from lib.jobs.queue.broker import Queue
from lib.records.engine import LedgerUnavailable
from lib.records.labels import LabelVersions
from lib.records.leases import Leases
from lib.records.ledger import Ledger
from lib.tasks.jobs.answers import active_first, answer_from
from lib.tasks.jobs.service import Service
from lib.tasks.kinds import TaskKind, kind_of
from lib.tasks.segmentation.batch_infer import OneByOne
from lib.tasks.serving.models import settle
from lib.tasks.serving.served_infer import QUEUED, ServedInfer
from lib.tasks.spec import RANDOM, AppSpec, load_app, scored_strategies
from lib.tasks.store.archive import keeping
from lib.tasks.store.folder import FolderStore
from lib.tasks.store.proposals import Proposals
from lib.tasks.strategies.case_scores import CaseScores
from lib.tasks.strategies.control import is_blank
from lib.tasks.strategies.draw import RandomUnlabelled
from lib.tasks.strategies.scored import Scored
from lib.tasks.training.train import RecipeTrain

logger = logging.getLogger(__name__)


class TopoLabelApp(MONAILabelApp):
    """Serve the tasks that the app folder's app.toml declares.

    MONAI Label finds an app by the name of its direct base class, so main.py imports this and never subclasses it.

    Args:
        app_dir: The app's folder.
        studies: Folder of studies, or the address of a DICOMweb server.
        conf: What MONAI Label was started with: the file of the weights below a prompted network, by its name.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.spec, self.queue = configured(load_app(app_dir), conf), Queue(app_dir)
        self.leases = Leases(app_dir, 60 * self.spec.lease_minutes)
        for task in self.spec.tasks:
            settle(app_dir, task)
        scored = [task for task in self.spec.tasks if task.scores]
        self._case_scores = {task.name: CaseScores(app_dir, task, self.queue) for task in scored}
        # OHIF's panel wants a list here, and fails silently on a dict; a model's own labels are a dict.
        labels = list(dict.fromkeys(name for task in self.spec.tasks for name in task.labels))
        super().__init__(app_dir, studies, conf, self.spec.name, self.spec.description, labels=labels)
        # Else every start, every next study and every training would start a process that rebuilds the app.
        self._auto_update_scoring = False

    def init_datastore(self) -> Datastore:
        """Return the studies, every label saved to them kept; of a folder only volumes, not pictures beside them."""
        self.ledger, self.proposals = Ledger.of(self.app_dir), Proposals(self.is_blank)
        names = {value: name for name, value in self.spec.tasks[0].label_values.items()}
        store = keeping(self._studies(), LabelVersions(self.app_dir, self.ledger), self.proposals, names)
        if isinstance(store, FolderStore):
            store.catch_up()
        return store

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Infer, and remember what was proposed: a label that is saved later began with it."""
        answer = super().infer(request, datastore)
        answer["params"].get("latencies", {})["queue"] = round(float(request.get(QUEUED, 0.0)), 4)
        if isinstance(request.get("image"), str):
            draft = answer if self.kind.answers_are_drafts else answer | {"file": ""}
            self.proposals.remember(request["image"], request, draft)
            if QUEUED in request:  # somebody waits for it; a batch is nobody's work on a case
                self._lease(self.leases.renew, request["image"])
        return answer

    @property
    def kind(self) -> TaskKind:
        """The kind of the first task, which says what the studies are and what labels they get."""
        return kind_of(self.spec.tasks[0])

    def is_blank(self, image: str) -> bool:
        """Say whether a study gets no automatic proposal, to measure what proposals save."""
        return is_blank(image, self.spec.control_share)

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next study; work on it begins now."""
        found = super().next_sample(request)
        if found:
            self.proposals.begin(found["id"])
            found["blank"] = self.is_blank(found["id"])
        return found

    def finished(self, image: str) -> None:
        """Note that a case has its final label: nobody works on it any more."""
        self._lease(self.leases.release, image)

    @staticmethod
    def _lease(change: Callable[[str], None], image: str) -> None:
        try:
            change(image)
        except LedgerUnavailable as error:
            logger.warning("the lease of %s stays as it was: %s", image, error)

    def info(self) -> dict[str, Any]:
        """Return what MONAI Label tells, the trainer at work first: viewers show the first trainer's standing only."""
        told = super().info()
        busy = [job.subject for job in active_first(self.queue.jobs.list(TRAIN, going=True))]
        for part in ("trainers", "train_stats"):
            names = sorted(told[part], key=lambda name: busy.index(name) if name in busy else len(busy))
            told[part] = {name: told[part][name] for name in names}
        return told

    def on_init_complete(self) -> None:
        """Begin to serve: jobs go through the durable queue, and a worker does them. Not called in a job's process."""
        super().on_init_complete()
        answer_from(self)
        Service(self).start()

    def init_infers(self) -> dict[str, InferTask]:
        """Return one infer task per task, three for one that answers clicks."""
        served: list[Mapping[str, InferTask]] = [
            kind_of(task).infer_tasks(self.app_dir, task) for task in self.spec.tasks
        ]
        return {name: infer for each in served for name, infer in each.items()}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return one train task per task that can be trained, named like its infer task."""
        return {task.name: RecipeTrain(self.app_dir, task) for task in self.spec.tasks if task.train}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the strategies, the app's own first: viewers preselect the first."""
        found: dict[str, Strategy] = {RANDOM: RandomUnlabelled(self.leases)}
        for name, (task, order) in scored_strategies(self.spec.tasks).items():
            found[name] = Scored(order, self.leases, self._case_scores[task.name])
        return {name: found[name] for name in sorted(found, key=lambda name: name != self.spec.strategy)}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Return Dice per class, over the classes of the first task, and the scores of cases per task that has them."""
        scores: dict[str, ScoringMethod] = {each.name: each for each in self._case_scores.values()}
        return {**self.kind.scoring_methods(self.spec.tasks[0]), **scores}

    @property
    def case_scores(self) -> dict[str, CaseScores]:
        """The scores of cases, by task."""
        return self._case_scores

    @property
    def infers(self) -> dict[str, ServedInfer]:
        """The infer tasks, by name."""
        return cast(dict[str, ServedInfer], self._infers)

    @property
    def trainers(self) -> dict[str, RecipeTrain]:
        """The train tasks, by name."""
        return cast(dict[str, RecipeTrain], self._trainers)

    @property
    def strategies(self) -> dict[str, Strategy]:
        """The strategies, by name."""
        return self._strategies

    @property
    def scorings(self) -> dict[str, ScoringMethod]:
        """The scoring methods, by name."""
        return self._scoring_methods

    def init_batch_infer(self) -> Callable[..., Any]:
        """Return batch inference, one study at a time."""
        return OneByOne()

    def _studies(self) -> Datastore:
        if self.studies.startswith(("http://", "https://")):
            return self.init_remote_datastore()
        return FolderStore(
            self.studies,
            extensions=list(self.kind.image_patterns),
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )


def configured(spec: AppSpec, conf: Mapping[str, str]) -> AppSpec:
    """Return an app whose prompted networks stand on the files that a server's `--conf` names.

    Args:
        spec: What app.toml declares.
        conf: ``{"sam_tiny": path}``, for one.
    """
    tasks = (replace(task, foundation=conf.get(task.model) or task.foundation) for task in spec.tasks)
    return replace(spec, tasks=tuple(tasks))
