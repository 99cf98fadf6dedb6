"""A recipe: the options every recipe shares, its one step, and how options that people typed are read."""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn
from torch.utils.data import Dataset

from lib.data.patches.augment import Augmentation
from lib.data.pipeline import ImageSpec

Batch = dict[str, Any]
Losses = dict[str, torch.Tensor]
RecipeT = TypeVar("RecipeT", bound="Recipe")

SCHEDULES = ("poly", "cosine", "constant")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(abc.ABC):
    """The options every recipe shares; a field is a flag of the command line and a knob of the viewer.

    Args:
        max_epochs: Epochs to run.
        patches_per_epoch: Patches drawn per epoch, over all processes.
        batch_size: Patches per step and process.
        learning_rate: Peak rate of AdamW.
        weight_decay: Decay of the matrices; biases, norms and state matrices have none.
        warmup_steps: Steps of linear warm-up.
        schedule: ``poly`` (power 0.9), ``cosine`` or ``constant``.
        clip_norm: Largest gradient norm.
        ema_decay: Decay of the averaged weights that are judged and kept; 0 keeps the raw weights.
        val_interval: Epochs between validations; the last epoch is always judged.
        early_stop_patience: Validations without gain before stopping; 0 never stops early.
        max_minutes: Stop cleanly after so long, the learning rate decayed by then; 0 is no limit.
        num_workers: Processes that make patches; 0 makes them between the steps.
        amp: Mixed precision where the device is CUDA.
        seed: Seed of a network that begins anew, of patches, augmentation and dropout.
    Raises:
        ValueError: If a value cannot train, with the option's name.
    """

    max_epochs: int = 100
    patches_per_epoch: int = 256
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    schedule: str = "poly"
    clip_norm: float = 12.0
    ema_decay: float = 0.99
    val_interval: int = 5
    early_stop_patience: int = 0
    max_minutes: float = 0.0
    num_workers: int = 0
    amp: bool = True
    seed: int = 0

    partly: ClassVar[bool] = False
    """Whether a step may leave parameters out that others use."""

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        for name, value in vars(self).items():
            self._require(name, not isinstance(value, float) or math.isfinite(value), "must be finite")
        for name in ("max_epochs", "patches_per_epoch", "batch_size", "learning_rate", "clip_norm", "val_interval"):
            self._require(name, getattr(self, name) > 0, "must be positive")
        for name in ("weight_decay", "warmup_steps", "early_stop_patience", "max_minutes", "num_workers", "seed"):
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        self._require("ema_decay", 0 <= self.ema_decay < 1, "must lie in [0, 1)")
        self._require("schedule", self.schedule in SCHEDULES, f"must be one of {', '.join(SCHEDULES)}")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise ValueError(f"option {name} {rule}, got {getattr(self, name)!r}")

    def prepare(self, network: nn.Module) -> None:
        """Choose which parameters learn, before the optimiser is made; all of them, if a recipe does not say."""
        network.requires_grad_(True)

    def augmentation(self) -> Augmentation:
        """Return how patches change."""
        return Augmentation()

    def assemble(self, network: nn.Module, teacher: nn.Module, spec: ImageSpec, shown: ImageSpec) -> nn.Module:
        """Return what the step runs where there is a teacher: the network, or a module that has it as ``student``.

        Args:
            network: What is taught.
            teacher: Frozen.
            spec: How the network reads its images.
            shown: How the teacher does.
        """
        return network

    def feed(self, patches: Dataset) -> Dataset:
        """Return the patches with whatever else the step needs; made where patches are made."""
        return patches

    def then(self) -> "Recipe | None":
        """Return the recipe that goes on, on labelled cases alone, where this one ends; None if nothing does."""
        return None

    @abc.abstractmethod
    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch as scalars; ``"loss"`` is the one to descend."""

    @classmethod
    def from_options(cls: type[RecipeT], options: Mapping[str, Any]) -> RecipeT:
        """Build the recipe from named options, strings included.

        Args:
            options: Values by field name, as a file, a command line or a viewer gives them.
        Returns:
            The recipe; fields without an option keep their default.
        Raises:
            ValueError: If a name is no field, with the names that exist; if a value does not convert.
        """
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        unknown = sorted(set(options) - set(kinds))
        if unknown:
            raise ValueError(f"unknown option {', '.join(unknown)}; {cls.__name__} has {', '.join(kinds)}")
        return cls(**{name: _convert(name, value, kinds[name]) for name, value in options.items()})


def _convert(name: str, value: Any, kind: type) -> Any:
    # bool("false") is True and int(True) is 1: neither may pass silently.
    if kind is bool and str(value).lower() in _WORDS:
        return _WORDS[str(value).lower()]
    wrong = ValueError(f"option {name} takes {kind.__name__}, got {value!r}")
    if kind is bool or (isinstance(value, bool) and kind is not str):
        raise wrong
    try:
        converted = kind(value)
    except (TypeError, ValueError):
        raise wrong from None
    if kind is int and isinstance(value, float) and converted != value:
        raise wrong
    return converted
