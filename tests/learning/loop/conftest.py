"""One thread, and the loop on squares in a folder of its own."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lib.learning.loop import fit as run
from lib.learning.recipes.finetune import Finetune
from tests.learning.loop.squares import Squares, quick, quiet, square_judge, tiny_network


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def fit(tmp_path: Path) -> Any:
    """Run the loop on squares, without trackers, in a folder of its own."""

    def call(recipe: Finetune | None = None, **changes: Any) -> Any:
        arguments: dict[str, Any] = {
            "network": tiny_network(),
            "patches": Squares(),
            "judge": square_judge,
            "workdir": tmp_path / "run",
            "progress": quiet,
            "track": False,
        }
        return run(recipe or quick(), **(arguments | changes))

    return call
