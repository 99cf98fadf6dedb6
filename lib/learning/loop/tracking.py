"""Curves of a run in TensorBoard and MLflow, both inside the run's folder."""

import math
from pathlib import Path
from typing import Any, Protocol

from lib.data.files.mlflow_store import open_store


class Tracker(Protocol):
    """Where a run's numbers go."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Record the values of one moment."""
        ...

    def close(self, status: str) -> None:
        """End the record; `status` is FINISHED, KILLED or FAILED."""
        ...


class TensorBoard:
    """Event files under ``workdir/tensorboard``.

    Args:
        workdir: The run's folder.
    """

    def __init__(self, workdir: Path) -> None:
        # Imported here: it takes a second and a tracked run alone needs it.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(workdir / "tensorboard"))

    def log(self, values: dict[str, float], step: int) -> None:
        """Record the values of one moment."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, status: str) -> None:
        """End the event file."""
        self._writer.close()


class MLflow:
    """One MLflow run in ``workdir/mlflow.db``; mlflow 3 refuses its old file store.

    Args:
        workdir: The run's folder, also of its artifacts.
        options: The recipe's options, recorded as parameters.
        run_id: The run to go on with, if resumed.
    """

    def __init__(self, workdir: Path, options: dict[str, Any], run_id: str = "") -> None:
        self._client = open_store(workdir / "mlflow.db")
        experiment = self._client.get_experiment_by_name("training")
        # Without a location of its own mlflow writes ./mlruns, wherever the process happens to stand.
        place = (workdir / "artifacts").resolve().as_uri()
        identity = experiment.experiment_id if experiment else self._client.create_experiment("training", place)
        self.run_id = run_id or self._client.create_run(identity).info.run_id
        if run_id:
            self._client.update_run(run_id, status="RUNNING")
            return
        for name, value in options.items():
            self._client.log_param(self.run_id, name, value)

    def log(self, values: dict[str, float], step: int) -> None:
        """Record the values of one moment; those that are not finite are left out."""
        for name, value in values.items():
            if math.isfinite(value):
                self._client.log_metric(self.run_id, name, value, step=step)

    def close(self, status: str) -> None:
        """End the run."""
        self._client.set_terminated(self.run_id, status=status)
