"""What a training began with comes back as it was."""

from pathlib import Path

from lib.data.cases import Case
from lib.learning.loop.session import BEST, CHECKPOINT
from lib.learning.recipes.finetune import Finetune
from lib.tasks.spec import TaskSpec
from lib.tasks.training.run_start import OUTCOME, Start, close


def test_written_and_read(tmp_path: Path, task: TaskSpec) -> None:
    workdir = tmp_path / "runs" / "one"
    assert Start.read(workdir, task) is None
    case = Case("ct_0", tmp_path / "ct_0.nii.gz", tmp_path / "label.nii.gz", "patient")
    start = Start("starter", Finetune(max_epochs=3), {"train": [case], "val": [], "held_out": []})
    start.write(workdir)
    assert Start.read(workdir, task) == start


def test_close_keeps_the_outcome_and_not_the_checkpoints(tmp_path: Path) -> None:
    for name in (CHECKPOINT, BEST):
        (tmp_path / name).write_bytes(b"x" * 10)
    close(tmp_path, {"version": "v1", "score": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == [OUTCOME]
