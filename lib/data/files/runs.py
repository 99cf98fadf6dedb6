"""Store the result of each run of a long experiment, so that an interrupted experiment can be resumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.data.files.atomic import replacing


class Runs:
    """Results of the runs of one plan, one JSON file per run.

    Args:
        out: Folder of the experiment; results are in its folder ``runs``, and the plan is in ``plan.json``.
        plan: The plan of the experiment, as JSON data.
    Raises:
        ValueError: If the folder holds runs of another plan.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        self.folder = out / "runs"
        self.folder.mkdir(parents=True, exist_ok=True)
        stored, path = json.loads(json.dumps(plan)), out / "plan.json"
        if path.is_file() and json.loads(path.read_text()) != stored:
            raise ValueError(f"{out} holds runs of another plan: choose another folder, or remove this one")
        with replacing(path) as file:
            file.write_text(json.dumps(stored, indent=1))

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the result of a run, or None if the run is not finished."""
        path = self._path(name)
        return json.loads(path.read_text()) if path.is_file() else None

    def put(self, name: str, result: Mapping[str, Any]) -> None:
        """Store the result of a run."""
        with replacing(self._path(name)) as file:
            file.write_text(json.dumps(result))

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the results of all finished runs, by name."""
        return {path.stem: json.loads(path.read_text()) for path in sorted(self.folder.glob("[!.]*.json"))}

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
