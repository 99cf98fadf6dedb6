"""One task of an app: its model, its labels and how it reads an image."""

import dataclasses

from lib.data.pipeline import ImageSpec
from lib.evaluation.faults import Expected
from lib.jobs.gate import GateSpec
from lib.models.sam.build import RANK
from lib.tasks.spec.blocks import CountSpec, ScoreSpec, TrainSpec

NO_IMAGE = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (1, 1))
"""The `image` of a task that takes counts instead."""


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """One task: a model, the labels it gives (their values are 1, 2, ...) and how it reads an image.

    Args:
        name: What viewers show and requests name; a click task is offered as ``<name>_2d``, ``_3d`` and ``_labels``.
        kind: A key of `lib.tasks.spec.kinds.KINDS`.
        model: A key of `lib.models.BUILDERS` or, for clicks, of `lib.models.PROMPTED`.
        labels: Class names in the order of their values; a task that restores has none.
        image: Spacing, window and network input.
        counts: How scans are taken, by a task that restores, which has no `image`.
        train: Recipe and options; None where the task only infers.
        gate: What a new version must show to be served.
        topology: How many components, loops and cavities a label, or several together, may have.
        description: One line for the viewer.
        student: The task, of the same labels, that answers where this one's network finds no memory.
        teacher: The task whose served version this one learns from by the recipe "distil", read on the same grid.
        object: What the labels are together: the one label of the click tasks that draw one thing.
        foundation: File of the weights that a prompted network stands on, named from the app's folder; empty takes
            those that a package carries.
        rank: Of a prompted network's adapters.
        scores: How cases are scored; None where no strategy asks for it.
    """

    name: str
    kind: str
    model: str
    labels: tuple[str, ...] = ()
    image: ImageSpec = NO_IMAGE
    counts: CountSpec | None = None
    train: TrainSpec | None = None
    gate: GateSpec = dataclasses.field(default_factory=GateSpec)
    topology: tuple[Expected, ...] = ()
    description: str = ""
    student: str | None = None
    teacher: str | None = None
    object: str = ""
    foundation: str = ""
    rank: int = RANK
    scores: ScoreSpec | None = None

    @property
    def label_values(self) -> dict[str, int]:
        """The value of each class, by name; 0 is background."""
        return {name: value for value, name in enumerate(self.labels, start=1)}

    @property
    def dimension(self) -> int:
        """Axes that the network sees, 2 or 3."""
        return len(self.image.roi)
