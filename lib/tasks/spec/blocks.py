"""The blocks of an app.toml beside its tasks: each a frozen dataclass, every key and value checked."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lib.data.files.tables import SpecError, build, mapping, one_of, only, typed
from lib.data.pipeline import ImageSpec
from lib.evaluation.faults import Expected
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
    """How a task is trained: the recipe's name and its options."""

    recipe: str
    options: Recipe


@dataclasses.dataclass(frozen=True)
class ScoreSpec:
    """How the cases of a task are scored for its strategies.

    Args:
        by: Where several answers to one image come from: "tta", views of it; "dropout", what the network drops in
            training; "ensemble", the versions served last, filled up with views of them.
        samples: Answers.
        over: What the uncertainty of a case is: "top", that of its most uncertain `top_ml`, or "roi", the mean within
            `margin_mm` of what any answer found.
        top_ml: A volume, in millilitres.
        margin_mm: A distance.
        pool: Cases that are scored per version, drawn by lot; 0 scores all.
    """

    by: str = "tta"
    samples: int = 4
    over: str = "top"
    top_ml: float = 1.0
    margin_mm: float = 5.0
    pool: int = 200


@dataclasses.dataclass(frozen=True)
class CountSpec:
    """How a task that restores takes its scans.

    Args:
        fraction: Of a standard scan's counts that a scan holds, where a request does not say.
        crop: Side of the crops it learns from, in pixels; a multiple of 8.
        guided: Whether segment-anything's masks guide the second stage while it learns (SPI).
        sam_size: Samples of a crop's side that segment-anything sees; multiples of 56 fill the windows it attends in.
        boxes: Along a crop's side, of which masks are asked.
    """

    fraction: float = 0.5
    crop: int = 64
    guided: bool = True
    sam_size: int = 56
    boxes: int = 3


def image(block: Mapping[str, Any], where: str) -> ImageSpec:
    """Return how images are read."""
    found = build(ImageSpec, block, where)
    if min(found.spacing_mm) <= 0 or found.window_hu[0] == found.window_hu[1]:
        raise SpecError(f"{where}: spacing_mm must be positive and the ends of window_hu differ")
    if len(found.roi) not in (2, 3) or min(found.roi) < 1 or not found.slice_offsets:
        raise SpecError(f"{where}: roi takes two or three positive sizes, slice_offsets at least one")
    if len(found.roi) == 3 and len(found.slice_offsets) > 1:
        raise SpecError(f"{where}: slice_offsets are the channels of a 2-D roi; a 3-D roi has one")
    return found


def counts(block: Mapping[str, Any], where: str) -> CountSpec:
    """Return how scans are taken."""
    found = build(CountSpec, block, where)
    if not 0 < found.fraction <= 1:
        raise SpecError(f"{where} fraction: above 0 and at most 1")
    if found.crop < 8 or found.crop % 8 or found.sam_size < 32 or found.sam_size % 4 or found.boxes < 1:
        raise SpecError(f"{where}: crop is a multiple of 8, sam_size one of 4 and 32 at least, boxes 1 or more")
    return found


def train(block: Mapping[str, Any], where: str) -> TrainSpec:
    """Return the recipe and its options."""
    options = dict(block)
    name = options.pop("recipe", None)
    one_of(name, tuple(RECIPES), f"{where} recipe")
    try:
        return TrainSpec(name, RECIPES[name].from_options(options))
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from None


def scores(block: Mapping[str, Any], where: str) -> ScoreSpec:
    """Return how cases are scored."""
    found = build(ScoreSpec, block, where)
    one_of(found.by, ("tta", "dropout", "ensemble"), f"{where} by")
    one_of(found.over, ("top", "roi"), f"{where} over")
    if found.samples < 2 or found.pool < 0 or found.top_ml <= 0 or found.margin_mm < 0:
        raise SpecError(f"{where}: two samples at least, top_ml above 0, margin_mm and pool 0 or more")
    return found


def gate(block: Mapping[str, Any], labels: Any, where: str, *, metrics: tuple[str, ...]) -> GateSpec:
    """Return what a new version must show.

    Args:
        block: The table.
        labels: Of the task; a task without labels has one floor, of its metric.
        where: For a refusal.
        metrics: What versions of this kind of task may be compared by, the default first.
    """
    block = {"metric": metrics[0], **block}
    one_of(block["metric"], metrics, f"{where} metric")
    labels = labels if block["metric"] == DICE else (block["metric"],)
    floors = dict(mapping(block.pop("floors", {}), f"{where} floors"))
    only(floors, labels, f"{where} floors")
    floors = {name: typed(value, float, f"{where} floors {name}") for name, value in floors.items()}
    found = build(GateSpec, block, where, floors=floors)
    # PSNR is in dB.
    shares = (found.teacher_share, *(() if block["metric"] == PSNR else floors.values()))
    if found.tolerance < 0 or found.latency_factor < 1 or not all(0 <= share <= 1 for share in shares):
        raise SpecError(
            f"{where}: tolerance is 0 or more, latency_factor 1 or more, floors and teacher_share lie in [0, 1]"
        )
    return found


def topology(block: Mapping[str, Any], labels: Any, where: str) -> tuple[Expected, ...]:
    """Return what is expected of each label, and of several that are named together: "larynx + trachea"."""
    expected = []
    for name, table in block.items():
        names = tuple(part.strip() for part in name.split("+"))
        only(dict.fromkeys(names), labels, where)
        place = f"{where} {name!r}"
        numbers = mapping(table, place)
        only(numbers, {"components", "loops", "cavities"}, place)
        each = build(Expected, numbers, place, labels=names)
        if any(number < 0 for number in numbers.values()):
            raise SpecError(f"{place}: numbers are 0 or more")
        expected.append(each)
    return tuple(expected)


def policy(block: Mapping[str, Any]) -> PolicySpec:
    """Return when an app trains by itself."""
    found = build(PolicySpec, block, "[policy]")
    if found.retrain_after < 0 or found.quiet_hours < 0 or len(found.window) not in (0, 2):
        raise SpecError("[policy]: retrain_after and quiet_hours are 0 or more, window takes two times")
    return found
