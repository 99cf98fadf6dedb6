"""MLflow's database, whole or not at all."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lib.data.files.atomic import replacing

if TYPE_CHECKING:
    from mlflow import MlflowClient


def open_store(database: Path) -> "MlflowClient":
    """Return a client of MLflow's runs and registry in a file, which is made if it is absent.

    MLflow makes its tables one after another, and never again opens a file whose maker was killed amid them. So a new
    file is made beside its place and takes its name when it has them all.

    Args:
        database: The SQLite file.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Imported here: it takes seconds, and serving never needs it.
    from mlflow import MlflowClient

    if not database.exists():
        with replacing(database) as partial:
            MlflowClient(f"sqlite:///{partial.resolve()}").search_experiments(max_results=1)
    return MlflowClient(f"sqlite:///{database.resolve()}")
