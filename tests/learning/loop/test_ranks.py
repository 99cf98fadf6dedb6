"""Training processes: one process works without a group; two with gloo have equal weights, scores and stops."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lib.learning.loop.ranks import join_processes
from tests.learning.two_processes import run_two_processes

SCRIPT = """
import sys, torch
from pathlib import Path
from lib.learning.loop import fit
from tests.learning.loop.squares import Squares, ignore_progress, quick_recipe, tiny_network, validate_squares

torch.set_num_threads(1)
rank, calls = int(__import__("os").environ["RANK"]), iter(range(1000))
stop = lambda: rank == 1 and next(calls) == 18
validate = lambda network, ranks: ranks.gather(validate_squares(network, ranks)[ranks.rank :: ranks.world])
result = fit(quick_recipe(max_epochs=20), tiny_network(rank), Squares(), validate, workdir=Path(sys.argv[1]) / "run",
             progress=ignore_progress, should_stop=stop, track=False)
torch.save({"weights": result.state_dict, "steps": result.steps, "score": result.score, "stopped": result.stopped,
            "cases": [case["case"] for case in result.metrics]}, f"{sys.argv[1]}/{rank}.pt")
"""


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    network = nn.Linear(1, 1)
    with join_processes("cpu") as ranks:
        assert ranks.is_first and ranks.world == 1 and ranks.device == torch.device("cpu")
        assert ranks.wrap(network) is network
        assert ranks.max_over_processes(0.0, 2.5) == [0.0, 2.5] and ranks.gather([1, 2]) == [1, 2]


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    first, second = run_two_processes(SCRIPT, tmp_path)
    # One process requests a stop at its 19th step; both processes stop there.
    assert first["steps"] == second["steps"] == 19 and first["stopped"] == second["stopped"] == "requested"
    assert first["cases"] == second["cases"] == ["0", "1"] and first["score"] == second["score"] > 0.5
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    assert (tmp_path / "run" / "checkpoint.pt").exists()
