"""Inputs of a training run are saved and read back unchanged."""

from pathlib import Path

from lib.data.cases import Case
from lib.learning.loop.session import BEST, CHECKPOINT
from lib.learning.recipes.finetune import Finetune
from lib.tasks.spec import TaskSpec
from lib.tasks.training.run_start import OUTCOME, RunStart, close_run


def test_saved_inputs_are_read_back_unchanged(tmp_path: Path, task: TaskSpec) -> None:
    workdir = tmp_path / "runs" / "one"
    assert RunStart.read(workdir, task) is None
    case = Case("ct_0", tmp_path / "ct_0.nii.gz", tmp_path / "label.nii.gz", "patient")
    start = RunStart("starter", Finetune(max_epochs=3), {"train": [case], "val": [], "held_out": []})
    start.write(workdir)
    assert RunStart.read(workdir, task) == start


def test_closing_a_run_keeps_the_outcome_and_removes_the_checkpoints(tmp_path: Path) -> None:
    for name in (CHECKPOINT, BEST):
        (tmp_path / name).write_bytes(b"x" * 10)
    close_run(tmp_path, {"version": "v1", "score": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == [OUTCOME]
