"""What an experiment is: its file as frozen dataclasses, every key and type checked."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from lib.data.files.tables import SpecError, build, mapping, one_of, only
from lib.data.pipeline import ImageSpec
from lib.models import BUILDERS, PROMPTED

ARMS = ("scratch", "mae", "moco", "agnostic", "specific", "synthetic")
"""``agnostic`` imitates the untuned encoder, ``specific`` learns a tuned teacher's answers, ``synthetic`` that with
images made by diffusion among those it is shown."""
LAYOUTS = ("procedural", "folder", "kidneyus", "chaos")


@dataclasses.dataclass(frozen=True)
class DataPlan:
    """Whose images.

    Args:
        layout: One of `LAYOUTS`.
        classes: Names of the values 1, 2, ...; one name for all of them together where `united`.
        test: Patients that judge.
        united: Whether all values are one class.
        folder: Of the images, from the file's own folder; none of procedural ones.
        count: Procedural cases.
        seed: Of them.
        pixel_mm: Of them, in-plane.
        slice_mm: Of them.
    """

    layout: str
    classes: tuple[str, ...]
    test: int
    united: bool = False
    folder: str = ""
    count: int = 0
    seed: int = 0
    pixel_mm: float = 3.0
    slice_mm: float = 4.0


@dataclasses.dataclass(frozen=True)
class Budget:
    """Steps, the same for every arm.

    Args:
        teacher: Of the teacher's tuning on the labels.
        lesson: Of whatever comes before the labels: pretext, imitation, distillation.
        finetune: On the labels; an arm without a lesson has the lesson's steps here as well.
        diffusion: Of the diffusion model.
        batch: Images of a step.
        teacher_batch: Of the teacher's.
        rate: The student's learning rate.
        teacher_rate: The teacher's.
    """

    teacher: int = 150
    lesson: int = 400
    finetune: int = 200
    diffusion: int = 800
    batch: int = 8
    teacher_batch: int = 4
    rate: float = 2e-3
    teacher_rate: float = 5e-4


@dataclasses.dataclass(frozen=True)
class Plan:
    """An experiment.

    Args:
        data: Whose images.
        image: How they are read.
        budget: Steps.
        labels: Labelled slices to try with.
        seeds: How many times, each with other labels and other beginnings.
        arms: Some of `ARMS`.
        student: A key of `lib.models.BUILDERS`.
        teacher: A key of `lib.models.PROMPTED`, or of `BUILDERS`.
        rank: Of a prompted teacher's adapters.
        foundation: File of the weights below a prompted teacher; empty takes those that a package carries.
        synthetic: Images that the diffusion model makes.
        encoder_weight: Of the distance from the tuned teacher's features; 0 leaves it out.
    """

    data: DataPlan
    image: ImageSpec
    budget: Budget
    labels: tuple[int, ...]
    seeds: int
    arms: tuple[str, ...] = ARMS
    student: str = "student_conv"
    teacher: str = "sam_tiny"
    rank: int = 4
    foundation: str = ""
    synthetic: int = 64
    encoder_weight: float = 0.0

    @property
    def prompted(self) -> bool:
        """Whether the teacher is one that answers prompts, and here without any."""
        return self.teacher in PROMPTED

    @property
    def teacher_image(self) -> ImageSpec:
        """How the teacher reads: the middle slice alone, if it knows pictures only."""
        return dataclasses.replace(self.image, slice_offsets=(0,)) if self.prompted else self.image

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON gives it back."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def load_plan(path: str | Path) -> Plan:
    """Return what a file declares.

    Args:
        path: TOML with ``[experiment]``, ``[data]``, ``[image]`` and, if wanted, ``[budget]``.
    Raises:
        SpecError: If a key or a value cannot be, with the place and what is allowed there.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"there is no {path}") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not TOML: {error}") from None
    only(table, {"experiment", "data", "image", "budget"}, "the file")
    parts = {
        "data": build(DataPlan, mapping(table.get("data", {}), "[data]"), "[data]"),
        "image": build(ImageSpec, mapping(table.get("image", {}), "[image]"), "[image]"),
        "budget": build(Budget, mapping(table.get("budget", {}), "[budget]"), "[budget]"),
    }
    plan = build(Plan, mapping(table.get("experiment", {}), "[experiment]"), "[experiment]", **parts)
    _check(plan)
    folder = plan.data.folder and str((path.parent / plan.data.folder).resolve())
    return dataclasses.replace(plan, data=dataclasses.replace(plan.data, folder=folder))


def _check(plan: Plan) -> None:
    data, image = plan.data, plan.image
    one_of(data.layout, LAYOUTS, "[data] layout")
    if (data.layout == "procedural") == bool(data.folder):
        raise SpecError("[data] folder: procedural cases are made, all others lie in a folder")
    if not data.classes or (data.united and len(data.classes) > 1):
        raise SpecError("[data] classes: one name at least, and one only where all values are united")
    if data.test < 2 or (data.layout == "procedural" and data.count < data.test + 2):
        raise SpecError("[data] test: two patients at least, and two more to learn from")
    one_of(plan.student, tuple(BUILDERS), "[experiment] student")
    one_of(plan.teacher, (*PROMPTED, *BUILDERS), "[experiment] teacher")
    for arm in plan.arms:
        one_of(arm, ARMS, "[experiment] arms")
    if not plan.labels or min(plan.labels) < 1 or plan.seeds < 1:
        raise SpecError("[experiment]: labels are some numbers of slices, seeds 1 or more")
    if plan.prompted and len(data.classes) > 1:
        raise SpecError(f"[experiment] teacher: {plan.teacher} draws one thing; unite the classes, or take another")
    if "agnostic" in plan.arms and not plan.prompted:
        raise SpecError("[experiment] arms: 'agnostic' imitates a foundation model, and the teacher is none")
    if len(image.roi) != 2 or (plan.prompted and image.roi[0] != image.roi[1]):
        raise SpecError("[image] roi: two sizes, for labels are slices; a square one for a prompted teacher")
    if min(dataclasses.astuple(plan.budget)) <= 0 or plan.encoder_weight < 0 or plan.synthetic < 1:
        raise SpecError("[budget] and [experiment]: numbers are above 0, encoder_weight 0 or more")
