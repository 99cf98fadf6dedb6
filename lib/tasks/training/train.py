"""A task's training as MONAI Label's train task: the viewer's knobs and the store's labels in, a version out."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list, name_to_device

from lib.data.cases import Case, patient_from_name
from lib.data.formats import stem
from lib.learning.loop.progress import Report
from lib.tasks.serving.result import first
from lib.tasks.serving.weights import versions_dir
from lib.tasks.spec import TaskSpec, load_app
from lib.tasks.store.archive import ArchiveStore
from lib.tasks.training.retrain import retrain
from lib.tasks.training.training_stats import read_stats

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
PATIENT_TAGS = ("PatientID", "StudyInstanceUID")
"""Without the first, at least the series of one study are of one patient."""
UNKNOWN = (None, "", "UNK", "None")
"""What MONAI Label's cache has for a tag that is not there."""


class RecipeTrain(TrainTask):
    """Train one task on the final labels of the store.

    Args:
        app_dir: The app's folder.
        task: A task with `train`.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec) -> None:
        super().__init__(f"Learn {task.name} from submitted labels; served only if no worse on held-out patients")
        assert task.train is not None, "the app makes this of tasks that train"
        self.app_dir, self.task, self.recipe = Path(app_dir), task, task.train

    def info(self) -> dict[str, Any]:
        """Return description, knobs and labels."""
        return super().info() | {"labels": self.task.label_values}

    def config(self) -> dict[str, Any]:
        """Return the recipe's options and the devices: the viewer's knobs."""
        return {"device": device_list(), **asdict(self.recipe.options)}

    def stats(self) -> dict[str, Any]:
        """Return where the training stands or what the last one led to."""
        return read_stats(versions_dir(self.app_dir, self.task))

    def __call__(
        self, request: dict[str, Any], datastore: Datastore, *, run: str = "", report: Report | None = None
    ) -> dict[str, Any]:
        """Train.

        Args:
            request: The recipe's options and ``device``; what else viewers send (model, client_id) means nothing here.
            datastore: The studies.
            run: Name of a run that goes on where it was interrupted; see `retrain`.
            report: Told of every step.
        Returns:
            The outcome, JSON-safe.
        """
        known = asdict(self.recipe.options)
        options = {key: first(value) for key, value in request.items() if key in known}
        device = name_to_device(first(request.get("device")))
        pattern = load_app(self.app_dir).patient_pattern
        cases = [*labelled_cases(datastore, pattern), *(bare_cases(datastore, pattern) if self.task.teacher else ())]
        return retrain(self.app_dir, self.task, cases, options, device=device, run=run, report=report).as_dict()


def bare_cases(datastore: Datastore, pattern: str = "") -> Sequence[Case]:
    """Return the studies without a final label, by name, for a teacher to show.

    None of a DICOMweb server's: each would be fetched whole.

    Args:
        datastore: A folder.
        pattern: Finds the patient in a name.
    """
    if isinstance(datastore, ArchiveStore):
        return []
    found = sorted(datastore.get_unlabeled_images(FINAL))
    return [Case(name, Path(datastore.get_image_uri(name)), None, _patient(datastore, name, pattern)) for name in found]


def _patient(datastore: Datastore, image: str, pattern: str) -> str:
    known = datastore.get_image_info(image)
    return next((str(known[tag]) for tag in PATIENT_TAGS if known.get(tag) not in UNKNOWN), "") or patient_from_name(
        image, pattern
    )


def labelled_cases(datastore: Datastore, pattern: str = "") -> Sequence[Case]:
    """Return the studies that have a final label, by name.

    Args:
        datastore: A folder, or a DICOMweb server, which knows patients by their id.
        pattern: Finds the patient in a name, where no DICOM tag tells it.
    """
    cases = []
    for pair in datastore.datalist():
        image = stem(Path(pair["image"]))
        label = Path(pair["label"])
        if isinstance(datastore, ArchiveStore):
            # The archive's SEG has its own order of segments and leaves out slices; what was submitted is kept here.
            kept = datastore.labels.newest(image, FINAL)
            if kept is None:
                logger.warning("%s: its label was not submitted here, and is not learned from", image)
                continue
            label = kept
        cases.append(Case(image, Path(pair["image"]), label, _patient(datastore, image, pattern)))
    return sorted(cases, key=lambda case: case.id)
