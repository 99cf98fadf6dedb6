"""The specification of one task: its model, its labels and its image grid."""

import dataclasses

from lib.data.patches.sides import AugmentSpec
from lib.data.pipeline import ImageSpec
from lib.evaluation.faults.expected import Expected
from lib.jobs.gate import GateSpec
from lib.models.sam.build import RANK
from lib.ops.mirror import Mirroring
from lib.tasks.spec.blocks import CountSpec, ScoreSpec, TrainSpec

NO_IMAGE = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (1, 1))
"""Value of `image` for a restoration task, which has `counts` instead."""


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """Specification of one task.

    Args:
        name: Name in viewers and requests; a click task is listed as ``<name>_2d``, ``_3d`` and ``_labels``.
        kind: A key of `lib.tasks.spec.kinds.KINDS`.
        model: Name of the network: a key of `networks` of the task's kind.
        labels: Class names; their label values are 1, 2, ... in this order. A restoration task has none.
        image: Spacing, window and network input.
        counts: How scans are read by a restoration task, which has no `image`.
        train: Recipe and options; None if the task only infers.
        augment: Whether images are mirrored in training and in test-time augmentation, and which labels are exchanged.
        gate: Conditions that a new version must meet to be published.
        topology: Numbers of components, loops and cavities that a label, or several labels together, may have.
        tubular: Labels that are tubes or trees of tubes. The gate compares the clDice of their union; without any, it
            compares Dice alone.
        baseline: Rule with which `evaluate` compares the task: "air", thresholds for air in a CT; empty for none.
        description: One line for the viewer.
        student: Name of the task, with the same labels, that infers if this task's network runs out of memory.
        teacher: Name of the task, on the same grid, from whose served version this task learns by the recipe "distil".
        object: Name of the structure that the labels form together: the label of the click tasks with one label.
        foundation: File of the foundation weights of a prompted network, relative to the app's folder; empty takes the
            weights of an installed package.
        rank: Rank of the LoRA adapters of a prompted network.
        scores: How cases are scored for strategies; None if the task has no such strategies.
    """

    name: str
    kind: str
    model: str
    labels: tuple[str, ...] = ()
    image: ImageSpec = NO_IMAGE
    counts: CountSpec | None = None
    train: TrainSpec | None = None
    augment: AugmentSpec = dataclasses.field(default_factory=AugmentSpec)
    gate: GateSpec = dataclasses.field(default_factory=GateSpec)
    topology: tuple[Expected, ...] = ()
    tubular: tuple[str, ...] = ()
    baseline: str = ""
    description: str = ""
    student: str | None = None
    teacher: str | None = None
    object: str = ""
    foundation: str = ""
    rank: int = RANK
    scores: ScoreSpec | None = None

    @property
    def label_values(self) -> dict[str, int]:
        """Label value of each class by name; 0 is background."""
        return {name: value for value, name in enumerate(self.labels, start=1)}

    @property
    def mirroring(self) -> Mirroring | None:
        """Classes that a mirrored image exchanges; None if images of this task must not be mirrored."""
        return self.augment.mirroring(self.labels)

    @property
    def dimension(self) -> int:
        """Number of spatial axes of the network's input, 2 or 3."""
        return len(self.image.roi)
