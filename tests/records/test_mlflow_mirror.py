"""MLflow's registry mirrors the version folders and the aliases."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from lib.records.mlflow_mirror import DATABASE, mirror
from lib.records.versions import CHALLENGER, set_alias, set_champion, write_version

ROOT = Path(__file__).resolve().parents[2]


def test_versions_and_aliases_are_mirrored(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "model" / "tubes"
    for name in ("v1", "v2"):
        write_version(root, {"a": torch.ones(1)}, {}, name=name)
    set_champion(root, "v1")
    set_alias(root, CHALLENGER, "v2")
    mirror(tmp_path / "model", "tubes")

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'model' / DATABASE}")

    def named(alias: str) -> str:
        return client.get_model_version_by_alias("tubes", alias).tags["version"]

    assert (named("champion"), named("challenger")) == ("v1", "v2")
    set_champion(root, "v2")
    set_alias(root, CHALLENGER, None)
    write_version(root, {"a": torch.ones(1)}, {}, name="v3")
    mirror(tmp_path / "model", "tubes")
    assert named("champion") == "v2" and list(client.get_registered_model("tubes").aliases) == ["champion"]
    found = client.search_model_versions("name='tubes'")
    assert sorted(version.tags["version"] for version in found) == ["v1", "v2", "v3"], "every version once"
    assert {path.name for path in tmp_path.iterdir()} == {"model"}, "no file is left in the working directory"


def test_mlflow_is_not_imported_before_its_first_use() -> None:
    """The import of MLflow takes seconds, and a server does not need MLflow."""
    code = "import sys, lib.records.mlflow_mirror, lib.jobs.publish; assert 'mlflow' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
