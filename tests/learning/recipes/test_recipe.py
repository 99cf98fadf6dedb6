"""Recipe options as text: converted, or refused with an error that names the expected value."""

import dataclasses
from typing import Any

import pytest

from lib.learning.recipes.finetune import Finetune


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"max_epochs": "7"}, "max_epochs", 7),
        ({"max_epochs": 7.0}, "max_epochs", 7),
        ({"learning_rate": "1e-4"}, "learning_rate", 1e-4),
        ({"learning_rate": 1}, "learning_rate", 1.0),
        ({"amp": "false"}, "amp", False),
        ({"amp": "On"}, "amp", True),
        ({"amp": 0}, "amp", False),
        ({"schedule": "cosine"}, "schedule", "cosine"),
        ({}, "max_epochs", Finetune().max_epochs),
    ],
)
def test_options_are_converted(options: dict[str, Any], field: str, value: object) -> None:
    converted = getattr(Finetune.from_options(options), field)
    assert converted == value and type(converted) is type(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 3}, "unknown option epochs; Finetune has max_epochs, .*cl_dice_weight"),
        ({"max_epochs": "many"}, "max_epochs takes int, got 'many'"),
        ({"max_epochs": 2.5}, "max_epochs takes int"),
        ({"max_epochs": True}, "max_epochs takes int"),
        ({"amp": "maybe"}, "amp takes bool"),
        ({"learning_rate": None}, "learning_rate takes float"),
        ({"max_epochs": 0}, "max_epochs must be positive, got 0"),
        ({"seed": -1}, "seed must not be negative"),
        ({"ema_decay": 1}, "ema_decay must lie in"),
        ({"learning_rate": "nan"}, "learning_rate must be"),
        ({"max_minutes": "inf"}, "max_minutes must be"),
        ({"schedule": "step"}, "schedule must be one of poly, cosine, constant"),
        ({"cl_dice_weight": -1}, "cl_dice_weight must not be negative"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Finetune.from_options(options)


def test_options_round_trip() -> None:
    recipe = Finetune(max_epochs=3, schedule="constant", skeleton_weight=0.5)
    assert Finetune.from_options(dataclasses.asdict(recipe)) == recipe
    assert Finetune.from_options({k: str(v) for k, v in dataclasses.asdict(recipe).items()}) == recipe


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Finetune().seed = 1  # type: ignore[misc]
