"""Runs of an experiment that takes hours, kept as they end: whoever was interrupted goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.data.files.atomic import replacing


class Runs:
    """What the runs of one plan ended with, a JSON file each.

    Args:
        out: Folder of the experiment; runs are kept in its ``runs/``, the plan beside them in ``plan.json``.
        plan: What they are given, as JSON has it.
    Raises:
        ValueError: If what is there was given something else.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        self.folder = out / "runs"
        self.folder.mkdir(parents=True, exist_ok=True)
        told, mark = json.loads(json.dumps(plan)), out / "plan.json"
        if mark.is_file() and json.loads(mark.read_text()) != told:
            raise ValueError(f"{out} holds runs of another plan: choose another folder, or remove it")
        with replacing(mark) as file:
            file.write_text(json.dumps(told, indent=1))

    def get(self, name: str) -> dict[str, Any] | None:
        """Return what a run ended with, None if it did not end."""
        path = self._path(name)
        return json.loads(path.read_text()) if path.is_file() else None

    def put(self, name: str, told: Mapping[str, Any]) -> None:
        """Keep what a run ended with."""
        with replacing(self._path(name)) as file:
            file.write_text(json.dumps(told))

    def all(self) -> dict[str, dict[str, Any]]:
        """Return what every run ended with, by name."""
        return {path.stem: json.loads(path.read_text()) for path in sorted(self.folder.glob("[!.]*.json"))}

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"
