"""Read the TOML file of an experiment into frozen dataclasses and check every key and type."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from lib.data.files.tables import SpecError, as_table, build_dataclass, check_choice, check_keys
from lib.data.pipeline import ImageSpec, build_image_spec
from lib.models import BUILDERS, PROMPTED

ARMS = ("scratch", "mae", "moco", "agnostic", "specific", "synthetic")
"""Names of the arms.

``agnostic`` imitates the encoder of the untuned teacher, ``specific`` learns from the logits of the tuned teacher, and
``synthetic`` is ``specific`` with additional synthetic images from a diffusion model.
"""
LAYOUTS = ("procedural", "folder", "kidneyus", "chaos")


@dataclasses.dataclass(frozen=True)
class DataPlan:
    """Images of the experiment.

    Args:
        layout: Kind of the data set, one of `LAYOUTS`.
        classes: Names of the label values 1, 2, ...; if `united`, a single name for all of them.
        test: Number of test patients.
        united: Whether all label values are merged into one class.
        folder: Folder of the images, relative to the TOML file; empty for procedural cases.
        count: Number of procedural cases.
        seed: Seed of the procedural cases.
        pixel_mm: In-plane spacing of the procedural cases, in mm.
        slice_mm: Slice spacing of the procedural cases, in mm.
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
    """Training steps, the same for every arm.

    Args:
        teacher: Steps in which the teacher is tuned on the labels.
        lesson: Steps before the fine-tuning: pretext task, imitation or distillation.
        finetune: Steps of fine-tuning on the labels; an arm without pre-training adds the steps of `lesson` here.
        diffusion: Steps of the diffusion model.
        batch: Images per step.
        teacher_batch: Images per step of the teacher.
        rate: Learning rate of the student.
        teacher_rate: Learning rate of the teacher.
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
        data: Images of the experiment.
        image: Grid, window, patch size and slices with which the student reads images.
        budget: Training steps.
        labels: Numbers of labelled slices to compare.
        seeds: Number of repetitions; every repetition draws other labelled slices and other initial weights.
        arms: Arms to train, some of `ARMS`.
        student: Network of the student, a key of `lib.models.BUILDERS`.
        teacher: Network of the teacher, a key of `lib.models.PROMPTED` or of `BUILDERS`.
        rank: Rank of the LoRA adapters of a prompted teacher.
        foundation: File with the pre-trained weights of a prompted teacher; empty takes the weights of a package.
        synthetic: Number of synthetic images that the diffusion model makes.
        encoder_weight: Weight of the distance from the tuned teacher's features; 0 leaves it out.
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
        """Whether the teacher is a prompted network; the experiment runs it without prompts."""
        return self.teacher in PROMPTED

    @property
    def teacher_image(self) -> ImageSpec:
        """How the teacher reads images: a prompted teacher reads the middle slice only."""
        return dataclasses.replace(self.image, slice_offsets=(0,)) if self.prompted else self.image

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON round trip returns it (lists instead of tuples)."""
        return json.loads(json.dumps(dataclasses.asdict(self) | {"image": self.image.legacy_fields()}))


def load_plan(path: str | Path) -> Plan:
    """Read the plan of an experiment.

    Args:
        path: TOML file with the tables ``[experiment]``, ``[data]``, ``[image]`` and, optionally, ``[budget]``.
    Raises:
        SpecError: If a key or a value is not allowed, with its place and the allowed values.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"there is no file {path}: give the path of an experiment in TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not TOML: {error}") from None
    check_keys(table, {"experiment", "data", "image", "budget"}, "the file")
    parts = {
        "data": build_dataclass(DataPlan, as_table(table.get("data", {}), "[data]"), "[data]"),
        "image": build_image_spec(as_table(table.get("image", {}), "[image]"), "[image]"),
        "budget": build_dataclass(Budget, as_table(table.get("budget", {}), "[budget]"), "[budget]"),
    }
    plan = build_dataclass(Plan, as_table(table.get("experiment", {}), "[experiment]"), "[experiment]", **parts)
    _check(plan)
    folder = plan.data.folder and str((path.parent / plan.data.folder).resolve())
    return dataclasses.replace(plan, data=dataclasses.replace(plan.data, folder=folder))


def _check(plan: Plan) -> None:
    data, image = plan.data, plan.image
    check_choice(data.layout, LAYOUTS, "[data] layout")
    if (data.layout == "procedural") == bool(data.folder):
        raise SpecError("[data] folder: give it for all layouts except 'procedural', whose cases are generated")
    if not data.classes or (data.united and len(data.classes) > 1):
        raise SpecError("[data] classes: give at least one name, and exactly one if 'united' is true")
    if data.test < 2 or (data.layout == "procedural" and data.count < data.test + 2):
        raise SpecError("[data] test: give at least two test patients, and leave at least two patients for training")
    check_choice(plan.student, tuple(BUILDERS), "[experiment] student")
    check_choice(plan.teacher, (*PROMPTED, *BUILDERS), "[experiment] teacher")
    for arm in plan.arms:
        check_choice(arm, ARMS, "[experiment] arms")
    if not plan.labels or min(plan.labels) < 1 or plan.seeds < 1:
        raise SpecError("[experiment]: 'labels' needs one or more numbers of slices, 'seeds' a number of 1 or more")
    if plan.prompted and len(data.classes) > 1:
        raise SpecError(
            f"[experiment] teacher: {plan.teacher} segments one class only; set united = true in [data] "
            "with one class name, or choose another teacher"
        )
    if "agnostic" in plan.arms and not plan.prompted:
        raise SpecError(
            f"[experiment] arms: 'agnostic' needs a prompted teacher ({', '.join(PROMPTED)}), and the teacher is "
            f"{plan.teacher}; choose another teacher or remove the arm"
        )
    if len(image.roi) != 2 or (plan.prompted and image.roi[0] != image.roi[1]):
        raise SpecError("[image] roi: give two sizes, because labels are slices; a prompted teacher needs a square")
    if min(dataclasses.astuple(plan.budget)) <= 0 or plan.encoder_weight < 0 or plan.synthetic < 1:
        raise SpecError("[budget] and [experiment]: all numbers must be above 0; encoder_weight must be 0 or more")
