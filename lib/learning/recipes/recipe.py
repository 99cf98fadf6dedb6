"""Base class of the recipes: shared options, the training step, and conversion of options from text."""

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
from lib.ops.mirror import Mirroring

Batch = dict[str, Any]
Losses = dict[str, torch.Tensor]
RecipeT = TypeVar("RecipeT", bound="Recipe")

SCHEDULES = ("poly", "cosine", "constant")
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(abc.ABC):
    """Options that all recipes share; each field is an option of the command line and of the viewer.

    Args:
        max_epochs: Number of epochs.
        patches_per_epoch: Patches per epoch, summed over all processes.
        batch_size: Patches per step and process.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of kernels and matrices; biases, norms, factors per channel and the parameters of
            state spaces have none.
        warmup_steps: Steps of linear warm-up.
        schedule: ``poly`` (power 0.9), ``cosine`` or ``constant``.
        clip_norm: Largest gradient norm; longer gradients are scaled down.
        ema_decay: Decay of the averaged weights, which are validated and saved; 0 uses the raw weights.
        val_interval: Epochs between validations; the last epoch is always validated.
        early_stop_patience: Validations without improvement before the run stops; 0 never stops early.
        max_minutes: Time limit, by which the learning rate has decayed; 0 is no limit.
        num_workers: Worker processes that load patches; 0 loads them in the training process.
        amp: Whether to use mixed precision on CUDA devices.
        seed: Seed of initial weights, patches, augmentation and dropout.
    Raises:
        ValueError: If an option has an invalid value.
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

    has_unused_parameters: ClassVar[bool] = False
    """Whether a step may leave trainable parameters unused."""

    def __post_init__(self) -> None:
        """Refuse invalid options."""
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

    def select_parameters(self, network: nn.Module) -> None:
        """Set which parameters are trainable, before the optimiser is built; by default all of them."""
        network.requires_grad_(True)

    def augmentation(self, mirroring: Mirroring | None) -> Augmentation:
        """Return the augmentation of the patches.

        Args:
            mirroring: Classes that a mirrored patch exchanges; None for no mirrored patches.
        """
        return Augmentation(mirroring=mirroring)

    def attach_teacher(
        self, network: nn.Module, teacher: nn.Module, spec: ImageSpec, teacher_spec: ImageSpec
    ) -> nn.Module:
        """Return the module that the step runs if there is a teacher: the network, or a module with it as ``student``.

        Args:
            network: Network to train.
            teacher: Frozen teacher.
            spec: Grid, window and slices of the network's input.
            teacher_spec: Grid, window and slices of the teacher's input.
        """
        return network

    def wrap_patches(self, patches: Dataset) -> Dataset:
        """Return the patches with additional targets for the step; they are computed where the patches are loaded."""
        return patches

    def next_recipe(self) -> "Recipe | None":
        """Return the recipe that continues the training on labelled cases only; None if there is none."""
        return None

    @abc.abstractmethod
    def step(self, network: nn.Module, batch: Batch) -> Losses:
        """Return the losses of one batch as scalars; the optimiser minimises ``"loss"``."""

    @classmethod
    def from_options(cls: type[RecipeT], options: Mapping[str, Any]) -> RecipeT:
        """Build the recipe from named options, whose values may be strings.

        Args:
            options: Values by field name, from a file, the command line or a viewer.
        Returns:
            The recipe; fields without an option keep their default.
        Raises:
            ValueError: If an option is unknown or its value cannot be converted.
        """
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        unknown = sorted(set(options) - set(kinds))
        if unknown:
            raise ValueError(f"unknown option {', '.join(unknown)}; {cls.__name__} has {', '.join(kinds)}")
        return cls(**{name: _convert(name, value, kinds[name]) for name, value in options.items()})


def _convert(name: str, value: Any, kind: type) -> Any:
    # bool("false") is True and int(True) is 1; both conversions would hide a mistake.
    if kind is bool and str(value).lower() in _BOOLEANS:
        return _BOOLEANS[str(value).lower()]
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
