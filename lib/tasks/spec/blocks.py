"""Read the blocks of an app.toml into frozen dataclasses and check every key and value."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lib.data.files.tables import SpecError, as_table, build_dataclass, check_choice, check_keys, convert_value
from lib.data.patches.sides import AugmentSpec
from lib.data.pipeline import ImageSpec, build_image_spec
from lib.evaluation.faults.expected import Expected
from lib.jobs.gate import DICE, PSNR, GateSpec
from lib.jobs.policy import PolicySpec
from lib.learning.recipes.click import Click
from lib.learning.recipes.distil import Distil
from lib.learning.recipes.finetune import Finetune
from lib.learning.recipes.recipe import Recipe
from lib.learning.recipes.restore import Restore

RECIPES: dict[str, type[Recipe]] = {"finetune": Finetune, "click": Click, "distil": Distil, "restore": Restore}


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """Training of a task: the recipe's name and its options."""

    recipe: str
    options: Recipe


@dataclasses.dataclass(frozen=True)
class ScoreSpec:
    """How the cases of a task are scored for its strategies.

    Args:
        by: Source of the several predictions for an image: "tta", transformed copies of the image; "dropout", dropout
            left on during inference; "ensemble", the versions served last, completed by test-time augmentation.
        samples: Number of predictions per image.
        over: Voxels over which the uncertainty of a case is averaged: "top", its most uncertain `top_ml`; "roi", all
            within `margin_mm` of the foreground of any prediction.
        top_ml: Volume for "top", in ml.
        margin_mm: Distance for "roi", in mm.
        pool: Number of cases, drawn at random, that are scored per version; 0 scores all.
    """

    by: str = "tta"
    samples: int = 4
    over: str = "top"
    top_ml: float = 1.0
    margin_mm: float = 5.0
    pool: int = 200


@dataclasses.dataclass(frozen=True)
class CountSpec:
    """How a restoration task reads and crops its scans.

    Args:
        fraction: Fraction of a standard scan's counts that a scan holds if the request does not give it.
        crop: Side of the training crops in pixels; a multiple of 8.
        guided: Whether masks of segment-anything guide the second stage during training (SPI).
        sam_size: Side in pixels to which a crop is resampled for segment-anything; multiples of 56 fill its attention
            windows.
        boxes: Number of box prompts along a crop's side.
    """

    fraction: float = 0.5
    crop: int = 64
    guided: bool = True
    sam_size: int = 56
    boxes: int = 3


def image(block: Mapping[str, Any], where: str) -> ImageSpec:
    """Return how images are read."""
    found = build_image_spec(block, where)
    if min(found.spacing_mm) <= 0 or found.window[0] == found.window[1]:
        raise SpecError(f"{where}: spacing_mm must be positive, and the two ends of window must differ")
    if len(found.roi) not in (2, 3) or min(found.roi) < 1 or not found.slice_offsets:
        raise SpecError(f"{where}: roi takes two or three positive sizes, slice_offsets at least one")
    if len(found.roi) == 3 and len(found.slice_offsets) > 1:
        raise SpecError(f"{where}: slice_offsets are the channels of a 2-D roi; a 3-D roi has one")
    return found


def counts(block: Mapping[str, Any], where: str) -> CountSpec:
    """Return how a restoration task reads scans of counts, from its block `counts`.

    Args:
        block: The table; see `CountSpec` for its keys.
        where: Place in app.toml, for error messages.
    Raises:
        SpecError: If a value is out of range.
    """
    found = build_dataclass(CountSpec, block, where)
    if not 0 < found.fraction <= 1:
        raise SpecError(f"{where} fraction: {found.fraction} must be above 0, and 1 at most")
    if found.crop < 8 or found.crop % 8 or found.sam_size < 32 or found.sam_size % 4 or found.boxes < 1:
        raise SpecError(f"{where}: crop must be a multiple of 8, sam_size a multiple of 4 from 32 on, boxes at least 1")
    return found


def train(block: Mapping[str, Any], where: str) -> TrainSpec:
    """Return the block `train`: the recipe and its options, checked."""
    options = dict(block)
    name = options.pop("recipe", None)
    check_choice(name, tuple(RECIPES), f"{where} recipe")
    try:
        return TrainSpec(name, RECIPES[name].from_options(options))
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from None


def augment(block: Mapping[str, Any], where: str) -> AugmentSpec:
    """Return the block `augment`; `lib.tasks.spec.kinds` compares it with the labels of the task."""
    return build_dataclass(AugmentSpec, block, where)


def scores(block: Mapping[str, Any], where: str) -> ScoreSpec:
    """Return the block `scores`, checked."""
    found = build_dataclass(ScoreSpec, block, where)
    check_choice(found.by, ("tta", "dropout", "ensemble"), f"{where} by")
    check_choice(found.over, ("top", "roi"), f"{where} over")
    if found.samples < 2 or found.pool < 0 or found.top_ml <= 0 or found.margin_mm < 0:
        raise SpecError(f"{where}: samples must be at least 2, top_ml above 0, margin_mm and pool at least 0")
    return found


def gate(block: Mapping[str, Any], labels: Any, where: str, *, metrics: tuple[str, ...]) -> GateSpec:
    """Return the block `gate`, checked: the conditions for publishing a new version.

    Args:
        block: Table of app.toml.
        labels: Labels of the task, whose names `floors` may use; a task without labels has one floor, of its metric.
        where: Place of the block, for error messages.
        metrics: Metrics that may compare versions of this kind of task, the default first.
    """
    block = {"metric": metrics[0], **block}
    check_choice(block["metric"], metrics, f"{where} metric")
    labels = labels if block["metric"] == DICE else (block["metric"],)
    floors = dict(as_table(block.pop("floors", {}), f"{where} floors"))
    check_keys(floors, labels, f"{where} floors")
    floors = {name: convert_value(value, float, f"{where} floors {name}") for name, value in floors.items()}
    found = build_dataclass(GateSpec, block, where, floors=floors)
    # A floor of PSNR is in dB, so it may exceed 1.
    shares = (found.teacher_share, *(() if block["metric"] == PSNR else floors.values()))
    if found.tolerance < 0 or found.latency_factor < 1 or not all(0 <= share <= 1 for share in shares):
        raise SpecError(
            f"{where}: tolerance must be at least 0, latency_factor at least 1, floors and teacher_share within [0, 1]"
        )
    return found


def topology(block: Mapping[str, Any], labels: Any, where: str) -> tuple[Expected, ...]:
    """Return the expected Betti numbers of each label, or of several labels joined by "+", as in "larynx + trachea"."""
    expected = []
    for name, table in block.items():
        names = tuple(part.strip() for part in name.split("+"))
        check_keys(dict.fromkeys(names), labels, where)
        place = f"{where} {name!r}"
        numbers = as_table(table, place)
        check_keys(numbers, {"components", "loops", "cavities"}, place)
        entry = build_dataclass(Expected, numbers, place, labels=names)
        if any(number < 0 for number in numbers.values()):
            raise SpecError(f"{place}: numbers must be at least 0")
        expected.append(entry)
    return tuple(expected)


def policy(block: Mapping[str, Any]) -> PolicySpec:
    """Return the block `[policy]`, checked: when an app trains automatically."""
    found = build_dataclass(PolicySpec, block, "[policy]")
    if found.retrain_after < 0 or found.quiet_hours < 0 or len(found.window) not in (0, 2):
        raise SpecError("[policy]: retrain_after and quiet_hours must be at least 0, window must have two times")
    return found
