"""The shared parts of the benchmarks: tables, timing, and resumable runs."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from benchmarks.harness.runs import resumed_runs
from benchmarks.harness.tables import markdown_table, mean_sd, median_range
from benchmarks.harness.timing import interleave, ratios, time_pass

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("[!_]*.py")))
def test_every_entry_point_has_a_benchmark(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


def test_a_table_has_heads_alignment_and_rows() -> None:
    lines = markdown_table(["name", "a", "b"], "lr", [["x", "1", "2"]])
    assert lines == ["| name | a | b |", "|---|---:|---:|", "| x | 1 | 2 |"]


def test_figures_are_rendered_with_their_spread() -> None:
    assert median_range([3.0, 1.0, 2.0]) == "2.0x (1.0-3.0)"
    assert mean_sd([1.0, 3.0], 2) == "2.00 ± 1.41" and mean_sd([1.0], 2) == "1.00"


def test_rounds_are_interleaved_and_warm_up_rounds_are_discarded() -> None:
    order: list[str] = []

    def timer(name: str) -> float:
        order.append(name)
        return float(len(order))

    taken = interleave({name: lambda name=name: timer(name) for name in "ab"}, rounds=2, discard=1)
    assert order == list("ababab") and taken == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    assert ratios(taken["b"], taken["a"]) == [4 / 3, 6 / 5]


def test_a_pass_computes_gradients_of_the_leaves_only_on_request() -> None:
    u, order = torch.ones(3, requires_grad=True), torch.arange(3)
    recorded: list[bool] = []

    def function(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        recorded.append(torch.is_grad_enabled())
        return x[index]

    assert time_pass(function, [u, order], backward=False) >= 0
    assert time_pass(function, [u, order], backward=True, leaves=[u]) >= 0
    assert recorded == [False, True]


def test_runs_are_restored_and_stored_even_after_a_failure(tmp_path: Path) -> None:
    file, folder = tmp_path / "runs.json", tmp_path / "out"
    file.write_text(json.dumps({"runs/a.json": {"score": 1}}))
    with pytest.raises(RuntimeError), resumed_runs(file, folder, "runs/*.json"):
        assert json.loads((folder / "runs" / "a.json").read_text()) == {"score": 1}
        (folder / "runs" / "b.json").write_text('{"score": 2}')
        (folder / "runs" / ".c.json").write_text("incomplete")
        raise RuntimeError
    assert json.loads(file.read_text()) == {"runs/a.json": {"score": 1}, "runs/b.json": {"score": 2}}
