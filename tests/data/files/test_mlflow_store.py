"""MLflow's database is created atomically."""

import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from lib.data.files.mlflow_store import open_store

ROOT = Path(__file__).resolve().parents[3]
OPEN = "import sys, pathlib; from lib.data.files.mlflow_store import open_store; open_store(pathlib.Path(sys.argv[1]))"


def test_failed_creation_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(mlflow.MlflowClient, "search_experiments", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            open_store(tmp_path / "mlflow.db")
    assert list(tmp_path.iterdir()) == []
    client = open_store(tmp_path / "mlflow.db")
    client.create_registered_model("tubes")
    assert [model.name for model in open_store(tmp_path / "mlflow.db").search_registered_models()] == ["tubes"]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.slow
def test_database_can_be_created_after_creation_was_killed(tmp_path: Path) -> None:
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path / "mlflow.db")], cwd=ROOT)
        while process.poll() is None and not any(path.stat().st_size > 20_000 for path in tmp_path.glob(".mlflow*")):
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    open_store(tmp_path / "mlflow.db").create_registered_model("tubes")
