"""The MONAI Label app that serves the tasks of an app.toml."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lib.data.findings import InputRejected
from lib.jobs.policy import TRAIN
from lib.jobs.queue.broker import Queue
from lib.records.database import LedgerUnavailable
from lib.records.labels import LabelVersions
from lib.records.leases import Leases
from lib.records.ledger import Ledger
from lib.records.versions import champion
from lib.tasks.jobs.queued_tasks import route_tasks_to_queue, running_first
from lib.tasks.jobs.service import Service
from lib.tasks.kinds import TaskKind, found_label_check, kind_of
from lib.tasks.segmentation.batch_infer import SequentialBatchInfer
from lib.tasks.serving.models import apply_last_decision
from lib.tasks.serving.priority import lower_thread_priority
from lib.tasks.serving.served_infer import QUEUED, ServedInfer
from lib.tasks.serving.weights import versions_dir
from lib.tasks.spec import COLD_START, RANDOM, SEGMENTATION, AppSpec, load_app, scored_strategies
from lib.tasks.store.archive import attach_records
from lib.tasks.store.final_labels import START_SECONDS
from lib.tasks.store.folder import FolderStore
from lib.tasks.store.proposals import Proposals
from lib.tasks.strategies.case_scores import CaseScores
from lib.tasks.strategies.cold_start import CaseEmbeddings, ColdStart
from lib.tasks.strategies.control import is_blank
from lib.tasks.strategies.draw import RandomUnlabelled
from lib.tasks.strategies.leasing import LeasingStrategy
from lib.tasks.strategies.scored_strategy import ScoredStrategy
from lib.tasks.training.train import RecipeTrain

logger = logging.getLogger(__name__)


class TopoLabelApp(MONAILabelApp):
    """Serve the tasks that the app folder's app.toml declares.

    MONAI Label finds an app by the name of its direct base class: main.py imports this class and never subclasses it.

    Args:
        app_dir: The app's folder.
        studies: Folder of studies, or the address of a DICOMweb server.
        conf: The `--conf` options of MONAI Label: names of prompted networks and the files of their foundation weights.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.spec, self.queue = apply_conf(load_app(app_dir), conf), Queue(app_dir)
        self.leases = Leases(app_dir, 60 * self.spec.lease_minutes)
        for task in self.spec.tasks:
            apply_last_decision(app_dir, task)
        scored = [task for task in self.spec.tasks if task.scores]
        self._case_scores = {task.name: CaseScores(app_dir, task, self.queue) for task in scored}
        click = self.spec.cold_start_task
        self._embeddings = CaseEmbeddings(app_dir, click, self.queue) if click else None
        # OHIF's panel wants a list here, and fails silently on a dict; a model's own labels are a dict.
        labels = list(dict.fromkeys(name for task in self.spec.tasks for name in task.labels))
        super().__init__(app_dir, studies, conf, self.spec.name, self.spec.description, labels=labels)
        # Otherwise MONAI Label starts a process that rebuilds the app at each start, next study and training.
        self._auto_update_scoring = False

    def init_datastore(self) -> Datastore:
        """Return the store of studies, which records every saved label."""
        self.ledger, self.proposals = Ledger.of(self.app_dir), Proposals(self.is_blank)
        names = {value: name for name, value in self.spec.tasks[0].label_values.items()}
        versions = LabelVersions(self.app_dir, self.ledger, self.spec.tasks[0].labels)
        check = found_label_check(self.app_dir, self.spec)
        store = attach_records(
            self._studies(),
            versions,
            self.proposals,
            names,
            check,
            self.spec.series_channels,
            self.spec.dicom_modalities,
        )
        if isinstance(store, FolderStore) and store.final:
            store.final.check_all(seconds=START_SECONDS)
        return store

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Run inference and remember the result as the proposal from which a later label is made."""
        answer = super().infer(request, datastore)
        answer["params"].get("latencies", {})["queue"] = round(float(request.get(QUEUED, 0.0)), 4)
        if isinstance(request.get("image"), str):
            draft = answer if self.kind.answers_are_drafts else answer | {"file": ""}
            self.proposals.remember(request["image"], request, draft)
            if QUEUED in request:  # Only a request over HTTP has this key: batch inference is no annotator's work.
                self._lease(self.leases.renew, request["image"])
        return answer

    @property
    def kind(self) -> TaskKind:
        """The kind of the first task; it determines the type of the images and of their labels."""
        return kind_of(self.spec.tasks[0])

    @property
    def image_patterns(self) -> tuple[str, ...]:
        """File patterns of the images and labels in a folder of studies: those of all tasks."""
        found = (pattern for task in self.spec.tasks for pattern in kind_of(task).image_patterns(task))
        return tuple(dict.fromkeys(found))

    def check_image(self, path: str | Path) -> None:
        """Check that at least one task can read an image.

        Raises:
            InputRejected: If none can; it lists what the first task found.
        """
        rejections = []
        for read_as in dict.fromkeys((task.kind, task.image.modality, task.image.channels) for task in self.spec.tasks):
            task = next(t for t in self.spec.tasks if (t.kind, t.image.modality, t.image.channels) == read_as)
            try:
                return kind_of(task).check_image(path, task)
            except InputRejected as rejected:
                rejections.append(rejected)
        raise rejections[0]

    def is_blank(self, image: str) -> bool:
        """Return whether a study gets no automatic proposal; such studies measure the time that proposals save."""
        return is_blank(image, self.spec.control_share)

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next study and start to measure the work on it."""
        found = super().next_sample(request)
        if found:
            self.proposals.start_work(found["id"])
            found["blank"] = self.is_blank(found["id"])
        return found

    def release_lease(self, image: str) -> None:
        """End the lease of a case that has its final label."""
        self._lease(self.leases.release, image)

    @staticmethod
    def _lease(change: Callable[[str], None], image: str) -> None:
        try:
            change(image)
        except LedgerUnavailable as error:
            logger.warning("the lease of %s was not changed: %s", image, error)

    def info(self) -> dict[str, Any]:
        """Return MONAI Label's facts about the app, the running trainer first: viewers show only the first trainer."""
        facts = super().info()
        busy = [job.subject for job in running_first(self.queue.jobs.list(TRAIN, unfinished=True))]
        for part in ("trainers", "train_stats"):
            names = sorted(facts[part], key=lambda name: busy.index(name) if name in busy else len(busy))
            facts[part] = {name: facts[part][name] for name in names}
        return facts

    def on_init_complete(self) -> None:
        """Route jobs to the persistent queue and start the worker that runs them. Not called in a job's process."""
        super().on_init_complete()
        route_tasks_to_queue(self)
        Service(self).start()
        store = self.datastore()
        if isinstance(store, FolderStore) and store.final:
            store.final.watch(lower_thread_priority)

    def init_infers(self) -> dict[str, InferTask]:
        """Return one infer task per task, and three per click task."""
        served: list[Mapping[str, InferTask]] = [
            kind_of(task).infer_tasks(self.app_dir, task) for task in self.spec.tasks
        ]
        return {name: infer for infers in served for name, infer in infers.items()}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return one train task per task with `train`, under the name of the task."""
        return {task.name: RecipeTrain(self.app_dir, task) for task in self.spec.tasks if task.train}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the strategies, the app's default first: viewers preselect the first."""
        found: dict[str, Strategy] = {RANDOM: RandomUnlabelled(self.leases)}
        for name, (task, order) in scored_strategies(self.spec.tasks).items():
            found[name] = ScoredStrategy(order, self.leases, self._case_scores[task.name])
        if self._embeddings:
            after = cast(LeasingStrategy, found[self.spec.after_cold_start])
            found[COLD_START] = ColdStart(self.leases, self._embeddings, after, self._segments)
        return {name: found[name] for name in sorted(found, key=lambda name: name != self.spec.strategy)}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Return the scoring methods of the first task's kind, and the jobs that score and embed cases."""
        scores: dict[str, ScoringMethod] = {method.name: method for method in self._case_scores.values()}
        if self._embeddings:
            scores[self._embeddings.name] = self._embeddings
        return {**self.kind.scoring_methods(self.spec.tasks[0]), **scores}

    def _segments(self) -> bool:
        """Return whether a version of a segmentation task is published."""
        tasks = (task for task in self.spec.tasks if task.kind == SEGMENTATION)
        return any(champion(versions_dir(self.app_dir, task)) for task in tasks)

    @property
    def case_scores(self) -> dict[str, CaseScores]:
        """Case scores by task name."""
        return self._case_scores

    @property
    def infers(self) -> dict[str, ServedInfer]:
        """Infer tasks by name."""
        return cast(dict[str, ServedInfer], self._infers)

    @property
    def trainers(self) -> dict[str, RecipeTrain]:
        """Train tasks by name."""
        return cast(dict[str, RecipeTrain], self._trainers)

    @property
    def strategies(self) -> dict[str, Strategy]:
        """Strategies by name."""
        return self._strategies

    @property
    def scorings(self) -> dict[str, ScoringMethod]:
        """Scoring methods by name."""
        return self._scoring_methods

    def init_batch_infer(self) -> Callable[..., Any]:
        """Return the batch inference, which infers one study at a time."""
        return SequentialBatchInfer()

    def _studies(self) -> Datastore:
        if self.studies.startswith(("http://", "https://")):
            return self.init_remote_datastore()
        return FolderStore(
            self.studies,
            series=self.kind.reads_series,
            channels=self.spec.channel_patterns,
            extensions=list(self.image_patterns),
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )


def apply_conf(spec: AppSpec, conf: Mapping[str, str]) -> AppSpec:
    """Return a spec whose prompted networks use the foundation weights that a server's `--conf` options name.

    Args:
        spec: The app's specification.
        conf: File of foundation weights by the name of the network, such as ``{"sam_tiny": path}``.
    """
    tasks = (replace(task, foundation=conf.get(task.model) or task.foundation) for task in spec.tasks)
    return replace(spec, tasks=tuple(tasks))
