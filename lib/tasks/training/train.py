"""The train task of MONAI Label: train a version with the viewer's options on the store's labels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list, name_to_device

from lib.data.cases import Case, patient_from_name
from lib.data.formats import stem
from lib.data.labels.coverage import read_covered
from lib.learning.loop.progress import ProgressCallback
from lib.tasks.serving.result import first
from lib.tasks.serving.weights import versions_dir
from lib.tasks.spec import TaskSpec, load_app
from lib.tasks.store.archive import ArchiveStore
from lib.tasks.store.folder import FolderStore
from lib.tasks.training.training_stats import read_stats

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
PATIENT_TAGS = ("PatientID", "StudyInstanceUID")
"""DICOM tags that identify the patient. Without PatientID, all series of one study count as one patient."""
VIEWER_KEYS = ("model", "device", "client_id")
"""Keys of a request that are no options of the recipe."""
UNKNOWN = (None, "", "UNK", "None")
"""Values that MONAI Label's cache has for a missing tag."""


class RecipeTrain(TrainTask):
    """Train one task on the final labels of the store.

    Args:
        app_dir: The app's folder.
        task: A task with `train`.
    """

    def __init__(self, app_dir: str | Path, task: TaskSpec) -> None:
        super().__init__(f"Train {task.name} on submitted labels; served only if no worse on held-out patients")
        assert task.train is not None, "the app builds this for tasks with `train` only"
        self.app_dir, self.task, self.recipe = Path(app_dir), task, task.train

    def info(self) -> dict[str, Any]:
        """Return description, options and labels."""
        return super().info() | {"labels": self.task.label_values}

    def config(self) -> dict[str, Any]:
        """Return the options that viewers show: the recipe's options and the devices."""
        return {"device": device_list(), **asdict(self.recipe.options)}

    def stats(self) -> dict[str, Any]:
        """Return the progress of the running training, or the outcome of the last one."""
        return read_stats(versions_dir(self.app_dir, self.task))

    def check_request(self, request: Mapping[str, Any]) -> None:
        """Check the options of a request, as the command line does.

        Raises:
            ValueError: If an option is unknown or has an invalid value; the message lists the options.
        """
        options = {key: first(value) for key, value in request.items() if key not in VIEWER_KEYS}
        recipe = self.recipe.options
        type(recipe).from_options({**asdict(recipe), **options})

    def __call__(
        self, request: dict[str, Any], datastore: Datastore, *, run: str = "", report: ProgressCallback | None = None
    ) -> dict[str, Any]:
        """Train the task and return the outcome.

        Args:
            request: The recipe's options and `VIEWER_KEYS`, checked by `check_request` when the job was submitted.
            datastore: The store of studies.
            run: Name of a run, which resumes if it was interrupted; see `retrain`.
            report: Called with the progress after each step.
        Returns:
            The outcome, JSON-safe.
        """
        # Imported where a training begins: what it needs takes seconds, and a server never trains.
        from lib.tasks.training.retrain import retrain

        known = asdict(self.recipe.options)
        options = {key: first(value) for key, value in request.items() if key in known}
        device = name_to_device(first(request.get("device")))
        pattern = load_app(self.app_dir).patient_pattern
        cases = [
            *labelled_cases(datastore, pattern),
            *(unlabelled_cases(datastore, pattern) if self.task.teacher else ()),
        ]
        return retrain(self.app_dir, self.task, cases, options, device=device, run=run, report=report).as_dict()


def unlabelled_cases(datastore: Datastore, pattern: str = "") -> Sequence[Case]:
    """Return the studies without a final label, sorted by name, to learn from a teacher's outputs.

    A DICOMweb server gives none: each study would have to be downloaded.

    Args:
        datastore: The store of studies.
        pattern: Regular expression that finds the patient in an image's name.
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
    """Return the studies that have a final label, sorted by name.

    Args:
        datastore: A folder, or a DICOMweb server, which has the patients' DICOM tags.
        pattern: Regular expression that finds the patient in an image's name if no DICOM tag has it.
    """
    cases = []
    if isinstance(datastore, FolderStore) and datastore.final:
        datastore.final.check_all()
    for pair in datastore.datalist():
        image = stem(Path(pair["image"]))
        label = Path(pair["label"])
        if isinstance(datastore, ArchiveStore):
            # A SEG of the archive has another order of segments and omits slices: use the submitted file, kept here.
            kept = datastore.labels.newest(image, FINAL)
            if kept is None:
                logger.warning("%s: not used for training, because its label was not submitted to this server", image)
                continue
            label = kept
        cases.append(Case(image, Path(pair["image"]), label, _patient(datastore, image, pattern), read_covered(label)))
    return sorted(cases, key=lambda case: case.id)
