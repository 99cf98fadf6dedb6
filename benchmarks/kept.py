"""Runs of a benchmark that takes hours, kept beside its results: another machine goes on from there."""

import json
from pathlib import Path


def take_up(file: Path, folder: Path) -> None:
    """Write what a file keeps into a folder, where it is not there yet.

    Runs of another plan are refused by whoever reads them, by the plan that is kept with them.
    """
    for name, told in (json.loads(file.read_text()) if file.is_file() else {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(told))


def put_down(file: Path, folder: Path, *patterns: str) -> None:
    """Keep the JSON files of a folder that match, a line each; hidden ones are half-written."""
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.name[0] != ".")
    done = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in paths}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(told)}" for name, told in done.items())
    file.write_text(f"{{\n{lines}\n}}\n")
