"""The kinds of task, as app.toml declares them: which networks can do them, and what their blocks may hold."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn

from lib.data.files.tables import SpecError, listed
from lib.jobs.gate import DICE, PSNR, SSIM
from lib.learning.recipes.click import Click
from lib.learning.recipes.restore import Restore
from lib.models import BUILDERS, PROMPTED, RESTORERS
from lib.models.sam.build import RANK
from lib.tasks.spec.task import NO_IMAGE, TaskSpec

SEGMENTATION, CLICK, RESTORATION = "segmentation", "click", "restoration"


class Declaration(Protocol):
    """What `app.toml` may say of one kind of task; `lib.tasks.kinds.TaskKind` is what the kind does.

    Attributes:
        networks: The builders of its networks, by the name that `model` takes.
        metrics: What the gate may compare versions by; the first is the default.
    """

    networks: Mapping[str, Callable[..., nn.Module]]
    metrics: tuple[str, ...]

    def check(self, task: TaskSpec, where: str) -> None:
        """Refuse a block that lacks a key or has one of another kind.

        Raises:
            SpecError: With the place, the key and the kind that takes it.
        """
        ...

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return the network of a task, freshly initialised, on the CPU."""
        ...


class SegmentationDeclaration:
    """An image in, a label of all classes out."""

    networks: Mapping[str, Callable[..., nn.Module]] = BUILDERS
    metrics: tuple[str, ...] = (DICE,)

    def check(self, task: TaskSpec, where: str) -> None:
        """Refuse a block that lacks a key or has one of another kind."""
        _check_image_and_labels(task, where)
        _check_prompt_keys_absent(task, where)
        _check_recipe(task, where, Restore, "restore", RESTORATION)
        _check_recipe(task, where, Click, "click", CLICK)

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return a network with one output channel per class, background included."""
        return BUILDERS[task.model](
            spatial_dims=task.dimension,
            in_channels=len(task.image.slice_offsets),
            out_channels=len(task.labels) + 1,
        )


class ClickDeclaration:
    """An image and clicks in, the label of what was clicked out."""

    networks: Mapping[str, Callable[..., nn.Module]] = PROMPTED
    metrics: tuple[str, ...] = (DICE,)

    def check(self, task: TaskSpec, where: str) -> None:
        """Refuse a block that lacks a key or has one of another kind."""
        _check_image_and_labels(task, where)
        _check_recipe(task, where, Restore, "restore", RESTORATION)
        _check_no_scores(task, where)
        if task.rank < 0:
            raise SpecError(f"{where} rank: 0 or more")
        roi = task.image.roi
        if len(roi) != 2 or roi[0] != roi[1] or task.image.slice_offsets != (0,):
            raise SpecError(f"{where} image: a click is answered on one slice, in a square roi")
        if not task.object:
            raise SpecError(f"{where} needs object: the name of what its labels are together")
        if task.train is not None and not isinstance(task.train.options, Click):
            raise SpecError(f"{where} train: a task of kind '{CLICK}' takes the recipe 'click' and no other")

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return a prompted network on its foundation's weights.

        Raises:
            NoFoundation: If the file of those weights is missing.
        """
        return PROMPTED[task.model](task.image.roi[0], rank=task.rank, foundation=task.foundation or None)


class RestorationDeclaration:
    """A scan with few counts in, the expected counts of a whole scan out."""

    networks: Mapping[str, Callable[..., nn.Module]] = RESTORERS
    metrics: tuple[str, ...] = (PSNR, SSIM)

    def check(self, task: TaskSpec, where: str) -> None:
        """Refuse a block that lacks a key or has one of another kind."""
        if task.counts is None:
            raise SpecError(f"{where} needs counts")
        useless = {"image": task.image is not NO_IMAGE, "labels": task.labels, "topology": task.topology}
        if named := [name for name, there in useless.items() if there]:
            raise SpecError(f"{where} {listed(named)}: a task of kind '{RESTORATION}' does not take this key")
        _check_prompt_keys_absent(task, where)
        _check_no_scores(task, where)
        if task.train is not None and not isinstance(task.train.options, Restore):
            raise SpecError(f"{where} train: a task of kind '{RESTORATION}' takes the recipe 'restore' and no other")

    def build_network(self, task: TaskSpec) -> nn.Module:
        """Return a restorer of one channel."""
        return RESTORERS[task.model](1, 1)


KINDS: dict[str, Declaration] = {
    SEGMENTATION: SegmentationDeclaration(),
    CLICK: ClickDeclaration(),
    RESTORATION: RestorationDeclaration(),
}
"""Every kind of task, by the name that `kind` takes in app.toml."""


def require_kind(task: TaskSpec, kind: str, purpose: str) -> None:
    """Refuse a task of another kind than the one that can serve a purpose.

    Args:
        task: The task.
        kind: The kind that can.
        purpose: What is asked for: "segment an image".
    Raises:
        SpecError: With the task, its kind and the kind that is needed.
    """
    if task.kind != kind:
        raise SpecError(f"task '{task.name}' is of kind '{task.kind}'; to {purpose}, name a task of kind '{kind}'")


def _check_image_and_labels(task: TaskSpec, where: str) -> None:
    needed: dict[str, Any] = {"image": task.image is not NO_IMAGE, "labels": task.labels}
    if missing := [name for name, there in needed.items() if not there]:
        raise SpecError(f"{where} needs {listed(missing)}")
    if task.counts:
        raise SpecError(f"{where} counts: a task of kind '{task.kind}' does not take this key")


def _check_prompt_keys_absent(task: TaskSpec, where: str) -> None:
    if task.object or task.foundation or task.rank != RANK:
        raise SpecError(f"{where}: object, foundation and rank are for tasks of kind '{CLICK}'")


def _check_no_scores(task: TaskSpec, where: str) -> None:
    if task.scores:
        raise SpecError(f"{where} scores: only a task of kind '{SEGMENTATION}' can score a case by itself")


def _check_recipe(task: TaskSpec, where: str, recipe: type, name: str, kind: str) -> None:
    if task.train is not None and isinstance(task.train.options, recipe):
        raise SpecError(f"{where} train: the recipe '{name}' is for tasks of kind '{kind}'")
