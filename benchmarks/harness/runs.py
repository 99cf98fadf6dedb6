"""Resume a benchmark of many runs: completed runs are stored beside the results, so that any machine can continue."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm


@contextmanager
def resumed_runs(file: Path, folder: Path, *patterns: str) -> Iterator[None]:
    """Restore completed runs from a file into a folder, and store all completed runs of the folder at the end.

    Args:
        file: JSON file beside the results, one line per run file.
        folder: Folder in which the benchmark writes its runs.
        patterns: Patterns of the run files to store; hidden files are incomplete and skipped.
    """
    restore_runs(file, folder)
    try:
        yield
    finally:
        store_runs(file, folder, *patterns)


def restore_runs(file: Path, folder: Path) -> None:
    """Write the run files stored in a file into a folder, except those that exist already.

    The benchmark itself rejects runs of another plan, because the plan is stored with the runs.
    """
    for name, content in (json.loads(file.read_text()) if file.is_file() else {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(content))


def store_runs(file: Path, folder: Path, *patterns: str) -> None:
    """Store the JSON files of a folder that match a pattern, one line per file; hidden files are incomplete."""
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.name[0] != ".")
    runs = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in paths}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(content)}" for name, content in runs.items())
    file.write_text(f"{{\n{lines}\n}}\n")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; yield a function that takes the numbers of runs done and in total."""
    with tqdm(desc=title) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
