"""Open MLflow's database, and create it atomically."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lib.data.files.atomic import replacing

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_store(database: Path) -> "MlflowClient":
    """Return a client of MLflow's runs and model registry in an SQLite file, which is created if it does not exist.

    MLflow creates its tables one by one. If the process is killed between two tables, MLflow cannot open the file any
    more. So a new database is created in a temporary file, which is renamed when it is complete.

    Args:
        database: The SQLite file.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Imported here, because the import takes seconds and serving does not need MLflow.
    from mlflow import MlflowClient

    if not database.exists():
        with replacing(database) as partial:
            MlflowClient(f"sqlite:///{partial.resolve()}").search_experiments(max_results=1)
    return MlflowClient(f"sqlite:///{database.resolve()}")
