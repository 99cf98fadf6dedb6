"""Mirror versions and their aliases to MLflow's model registry, for its pages and clients.

Serving reads the folders and alias files of `lib.records.versions`. The registry is a copy and may be deleted.
"""

import contextlib
from pathlib import Path

from lib.data.files.mlflow_store import open_store
from lib.records.versions import CHALLENGER, CHAMPION, list_versions, read_alias

DATABASE = "mlflow.db"
NAME_TAG = "version"


def mirror(model_dir: Path, task: str) -> None:
    """Add missing versions of a task to MLflow's registry and set its aliases as the alias files have them.

    Args:
        model_dir: Folder of the versions of all tasks; the registry is ``mlflow.db`` there.
        task: Name of the task and of the registered model.
    """
    client = open_store(model_dir / DATABASE)
    # Imported here: the import takes seconds, and serving does not need MLflow.
    from mlflow.exceptions import MlflowException

    root = model_dir / task
    with contextlib.suppress(MlflowException):  # the model exists
        client.create_registered_model(task)
    registered = client.search_model_versions(f"name='{task}'")
    numbers = {version.tags.get(NAME_TAG): version.version for version in registered}
    for version in list_versions(root):
        if version.name not in numbers:
            source, tags = version.path.resolve().as_uri(), {NAME_TAG: version.name}
            numbers[version.name] = client.create_model_version(task, source, tags=tags).version
    for alias in (CHAMPION, CHALLENGER):
        found = read_alias(root, alias)
        if found:
            client.set_registered_model_alias(task, alias, numbers[found.name])
        else:
            client.delete_registered_model_alias(task, alias)
