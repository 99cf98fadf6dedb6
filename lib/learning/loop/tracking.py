"""Record the curves of a run with TensorBoard and MLflow, both inside the folder of the run."""

import math
from pathlib import Path
from typing import Any, Protocol

from lib.data.files.mlflow_store import open_store


class Tracker(Protocol):
    """Recorder of the values of a run."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Record the values of one step."""
        ...

    def close(self, status: str) -> None:
        """Close the record; `status` is FINISHED, KILLED or FAILED."""
        ...


class TensorBoard:
    """Recorder that writes event files to ``workdir/tensorboard``.

    Args:
        workdir: Folder of the run.
    """

    def __init__(self, workdir: Path) -> None:
        # This import takes about a second, and only tracked runs need it.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(workdir / "tensorboard"))

    def log(self, values: dict[str, float], step: int) -> None:
        """Record the values of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, status: str) -> None:
        """Close the event file."""
        self._writer.close()


class MLflow:
    """Recorder that writes one MLflow run to ``workdir/mlflow.db``; mlflow 3 no longer supports its file store.

    Args:
        workdir: Folder of the run and of its artifacts.
        options: Options of the recipe, recorded as parameters.
        run_id: MLflow run to continue; empty starts a new one.
    """

    def __init__(self, workdir: Path, options: dict[str, Any], run_id: str = "") -> None:
        self._client = open_store(workdir / "mlflow.db")
        experiment = self._client.get_experiment_by_name("training")
        # Without an artifact location mlflow writes ./mlruns into the current folder of the process.
        location = (workdir / "artifacts").resolve().as_uri()
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment("training", location)
        self.run_id = run_id or self._client.create_run(experiment_id).info.run_id
        if run_id:
            self._client.update_run(run_id, status="RUNNING")
            return
        for name, value in options.items():
            self._client.log_param(self.run_id, name, value)

    def log(self, values: dict[str, float], step: int) -> None:
        """Record the finite values of one step; leave out values that are not finite."""
        for name, value in values.items():
            if math.isfinite(value):
                self._client.log_metric(self.run_id, name, value, step=step)

    def close(self, status: str) -> None:
        """Set the final status of the MLflow run."""
        self._client.set_terminated(self.run_id, status=status)
