"""The kinds of task in app.toml: the networks that each kind can use, and the keys that its block may have."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn

from lib.data.files.tables import SpecError, check_choice, join_words
from lib.data.modality import CT
from lib.data.patches.sides import AugmentSpec
from lib.jobs.gate import DICE, PSNR, SSIM
from lib.learning.recipes.click import Click
from lib.learning.recipes.restore import Restore
from lib.models import BUILDERS, PROMPTED, RESTORERS
from lib.models.sam.build import RANK
from lib.tasks.spec.task import NO_IMAGE, TaskSpec

AIR = "air"
BASELINES = ("", AIR)
"""Rules with which a task may be compared."""
SEGMENTATION, CLICK, RESTORATION = "segmentation", "click", "restoration"


class Declaration(Protocol):
    """Keys that a task of one kind may have in `app.toml`; `lib.tasks.kinds.TaskKind` is the behaviour of the kind.

    Attributes:
        networks: Builders of the networks by the value of the key `model`.
        metrics: Metrics by which the gate may compare versions; the first is the default.
    """

    networks: Mapping[str, Callable[..., nn.Module]]
    metrics: tuple[str, ...]

    def check(self, task: TaskSpec, where: str) -> None:
        """Check that a block has all keys of its kind and no key of another kind.

        Raises:
            SpecError: If not; it gives the place, the key and the kind that takes it.
        """
        ...

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return the network of a task with initial weights, on the CPU."""
        ...


class SegmentationDeclaration:
    """Segmentation: maps an image to a label with all classes."""

    networks: Mapping[str, Callable[..., nn.Module]] = BUILDERS
    metrics: tuple[str, ...] = (DICE,)

    def check(self, task: TaskSpec, where: str) -> None:
        """Check that a block has all keys of its kind and no key of another kind."""
        _check_image_and_labels(task, where)
        _check_prompt_keys_absent(task, where)
        _check_recipe(task, where, Restore, "restore", RESTORATION)
        _check_recipe(task, where, Click, "click", CLICK)

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return a network with one output channel per class, background included."""
        return BUILDERS[task.model](
            spatial_dims=task.dimension,
            in_channels=task.image.channel_count * len(task.image.slice_offsets),
            out_channels=len(task.labels) + 1,
        )


class ClickDeclaration:
    """Interactive segmentation: maps an image and clicks to the label of the clicked structure."""

    networks: Mapping[str, Callable[..., nn.Module]] = PROMPTED
    metrics: tuple[str, ...] = (DICE,)

    def check(self, task: TaskSpec, where: str) -> None:
        """Check that a block has all keys of its kind and no key of another kind."""
        _check_image_and_labels(task, where)
        _check_recipe(task, where, Restore, "restore", RESTORATION)
        _check_no_scores(task, where)
        if task.rank < 0:
            raise SpecError(f"{where} rank: {task.rank} is below 0")
        roi = task.image.roi
        if len(roi) != 2 or roi[0] != roi[1] or task.image.slice_offsets != (0,):
            raise SpecError(f"{where} image: clicks segment one slice; roi must be a square and slice_offsets [0]")
        if task.image.channels:
            raise SpecError(f"{where} image: clicks are made on the reference; remove channels")
        if not task.object:
            raise SpecError(f"{where} needs object: the name of the structure that its labels form together")
        if task.train is not None and not isinstance(task.train.options, Click):
            raise SpecError(f"{where} train: a task of kind '{CLICK}' takes the recipe 'click' and no other")

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return a prompted network with its foundation weights.

        Raises:
            NoFoundation: If the file of the foundation weights is missing.
        """
        return PROMPTED[task.model](
            task.image.roi[0],
            rank=task.rank,
            foundation=task.foundation or None,
            input_range=task.image.network_range,
        )


class RestorationDeclaration:
    """Restoration: maps a scan with few counts to the expected counts of a standard scan."""

    networks: Mapping[str, Callable[..., nn.Module]] = RESTORERS
    metrics: tuple[str, ...] = (PSNR, SSIM)

    def check(self, task: TaskSpec, where: str) -> None:
        """Check that a block has all keys of its kind and no key of another kind."""
        if task.counts is None:
            raise SpecError(f"{where} needs counts")
        useless = {
            "image": task.image is not NO_IMAGE,
            "labels": task.labels,
            "topology": task.topology,
            "augment": task.augment != AugmentSpec(),
            "tubular": task.tubular,
            "baseline": task.baseline,
        }
        if named := [name for name, there in useless.items() if there]:
            raise SpecError(f"{where} {join_words(named)}: a task of kind '{RESTORATION}' does not take this key")
        _check_prompt_keys_absent(task, where)
        _check_no_scores(task, where)
        if task.train is not None and not isinstance(task.train.options, Restore):
            raise SpecError(f"{where} train: a task of kind '{RESTORATION}' takes the recipe 'restore' and no other")

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return a restoration network with one input and one output channel."""
        return RESTORERS[task.model](1, 1)


KINDS: dict[str, Declaration] = {
    SEGMENTATION: SegmentationDeclaration(),
    CLICK: ClickDeclaration(),
    RESTORATION: RestorationDeclaration(),
}
"""Kinds of task by the value of the key `kind` in app.toml."""


def require_kind(task: TaskSpec, kind: str, purpose: str) -> None:
    """Check that a task is of the kind that a purpose needs.

    Args:
        task: The task.
        kind: The required kind.
        purpose: Infinitive for the error message, such as "segment an image".
    Raises:
        SpecError: If the task is of another kind; it gives the task, its kind and the required kind.
    """
    if task.kind != kind:
        raise SpecError(f"task '{task.name}' is of kind '{task.kind}'; to {purpose}, name a task of kind '{kind}'")


def _check_image_and_labels(task: TaskSpec, where: str) -> None:
    needed: dict[str, Any] = {"image": task.image is not NO_IMAGE, "labels": task.labels}
    if missing := [name for name, there in needed.items() if not there]:
        raise SpecError(f"{where} needs {join_words(missing)}")
    check_choice(task.baseline, BASELINES, f"{where} baseline")
    if task.baseline == AIR and task.image.modality != CT:
        raise SpecError(f"{where} baseline: the rule '{AIR}' needs Hounsfield units, so modality = '{CT}'")
    if task.counts:
        raise SpecError(f"{where} counts: a task of kind '{task.kind}' does not take this key")
    try:
        task.augment.mirroring(task.labels)
    except ValueError as error:
        raise SpecError(f"{where} augment: {error}") from None


def _check_prompt_keys_absent(task: TaskSpec, where: str) -> None:
    if task.object or task.foundation or task.rank != RANK:
        raise SpecError(f"{where}: only tasks of kind '{CLICK}' take object, foundation and rank")


def _check_no_scores(task: TaskSpec, where: str) -> None:
    if task.scores:
        raise SpecError(f"{where} scores: only a task of kind '{SEGMENTATION}' can score cases")


def _check_recipe(task: TaskSpec, where: str, recipe: type, name: str, kind: str) -> None:
    if task.train is not None and isinstance(task.train.options, recipe):
        raise SpecError(f"{where} train: the recipe '{name}' is for tasks of kind '{kind}'")
