"""Recorded curves: in the folder of the run only, read back with TensorBoard and MLflow."""

import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.learning.loop.tracking import MLflow, TensorBoard


def test_tensorboard_records_values(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.log({"loss": 0.5}, 7)
    board.close("FINISHED")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(7, 0.5)]


def test_mlflow_continues_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    elsewhere, workdir = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    workdir.mkdir()
    monkeypatch.chdir(elsewhere)
    first = MLflow(workdir, {"max_epochs": 3})
    first.log({"loss": 0.5, "score": math.nan}, 1)
    first.close("KILLED")
    second = MLflow(workdir, {"max_epochs": 3}, first.run_id)
    second.log({"loss": 0.25}, 2)
    second.close("FINISHED")

    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    run = client.get_run(first.run_id)
    assert second.run_id == first.run_id and run.info.status == "FINISHED" and run.data.params == {"max_epochs": "3"}
    assert [metric.value for metric in client.get_metric_history(first.run_id, "loss")] == [0.5, 0.25]
    assert "score" not in run.data.metrics and not list(elsewhere.iterdir())
