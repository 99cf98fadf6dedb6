"""Fixtures: one torch thread, and the training loop on the squares task."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lib.learning.loop import fit as run
from lib.learning.recipes.finetune import Finetune
from tests.learning.loop.squares import Squares, ignore_progress, quick_recipe, tiny_network, validate_squares


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def fit(tmp_path: Path) -> Any:
    """Run the training loop on squares, without trackers, in a temporary folder."""

    def call(recipe: Finetune | None = None, **changes: Any) -> Any:
        arguments: dict[str, Any] = {
            "network": tiny_network(),
            "patches": Squares(),
            "validate": validate_squares,
            "workdir": tmp_path / "run",
            "progress": ignore_progress,
            "track": False,
        }
        return run(recipe or quick_recipe(), **(arguments | changes))

    return call
