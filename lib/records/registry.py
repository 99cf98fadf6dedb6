"""Show versions and their aliases in MLflow's model registry, for its pages and clients.

The folders and alias files of `lib.records.versions` are what serving follows; this mirrors them, and may be deleted.
"""

import contextlib
from pathlib import Path

from lib.data.files.mlflow_store import open_store
from lib.records.versions import CHALLENGER, CHAMPION, aliased, list_versions

DATABASE = "mlflow.db"
NAME_TAG = "version"


def mirror(model_dir: Path, task: str) -> None:
    """Bring MLflow's registry to what the folders say.

    Args:
        model_dir: Folder of all tasks' versions; the registry is ``mlflow.db`` there.
        task: The task, whose name the registered model bears.
    """
    client = open_store(model_dir / DATABASE)
    # Imported here: it takes seconds, and serving never needs it.
    from mlflow.exceptions import MlflowException

    root = model_dir / task
    with contextlib.suppress(MlflowException):  # it is there
        client.create_registered_model(task)
    numbers = {each.tags.get(NAME_TAG): each.version for each in client.search_model_versions(f"name='{task}'")}
    for version in list_versions(root):
        if version.name not in numbers:
            source, tags = version.path.resolve().as_uri(), {NAME_TAG: version.name}
            numbers[version.name] = client.create_model_version(task, source, tags=tags).version
    for alias in (CHAMPION, CHALLENGER):
        found = aliased(root, alias)
        if found:
            client.set_registered_model_alias(task, alias, numbers[found.name])
        else:
            client.delete_registered_model_alias(task, alias)
