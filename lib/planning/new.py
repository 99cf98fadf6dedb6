"""Make an app from a user's own studies: look, choose, write, import."""

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.data.formats import SUFFIXES
from lib.data.listing import split_suffix
from lib.planning.choices import choose
from lib.planning.collect import collect
from lib.planning.fingerprint import measure
from lib.planning.import_studies import CHANNELS, STUDIES, import_studies
from lib.planning.label_values import find_labels
from lib.planning.speed import step_timer
from lib.planning.unstack import unstack
from lib.planning.write_app import TASK, write_app

MINUTES = 30.0
UNSTACKED = ".channels"
"""Folder in the new app for files that exist only while it is made."""
Progress = Callable[[str], Callable[[int, int], None]]


def new_app(
    app_dir: Path,
    studies: Path,
    *,
    labels: Sequence[str] = (),
    labelled: Path | None = None,
    minutes: float = MINUTES,
    progress: Progress = lambda title: lambda done, total: None,
) -> dict[str, Any]:
    """Write an app for the images of a folder, and import the images with their labels.

    Nothing is written outside of the app's folder, and nothing stays there if the images cannot be used.

    Args:
        app_dir: Folder of the new app; it must be empty or absent.
        studies: Folder of images, or of a data set; see `lib.planning.collect.collect`.
        labels: Names of the labels, in the order of their values; see `lib.planning.label_values.find_labels`.
        labelled: Folder of label files with the names of their images.
        minutes: Minutes that a training may take on this machine.
        progress: Returns, for the title of a step, a function that is called with the number done and their total.
    Returns:
        JSON-safe facts about the app.
    Raises:
        ValueError: If the folder is not empty, or there are no images, or no labels and no names of labels.
    """
    if app_dir.exists() and (not app_dir.is_dir() or any(app_dir.iterdir())):
        raise ValueError(f"'{app_dir}' is not empty: give a new folder for the app")
    if app_dir.resolve().is_relative_to(studies.resolve()):
        raise ValueError(f"'{app_dir}' lies in the folder of the studies: give a folder beside it")
    if not minutes > 0:  # also true for nan
        raise ValueError(f"minutes must be above 0, got {minutes:g}")
    had_folder = app_dir.exists()
    try:
        found = unstack(collect(studies, labelled), app_dir / UNSTACKED, progress("splitting channels"))
        sources = find_labels(found, labels)
        names = tuple(sources)
        facts = measure(found.cases, sources, progress(f"reading {studies.name}"))
        plan = choose(
            facts,
            names,
            [case.id for case in found.cases],
            minutes=minutes,
            stated=found.modality,
            time_step=step_timer(len(names) + 1),
            channels={name: (_pattern(name, files), len(files)) for name, files in found.channels.items()},
        )
        write_app(app_dir, plan, facts, str(studies))
        author = f"import:{labelled or studies}"
        done = import_studies(app_dir, found.cases, found.channels, sources, author, progress("importing"))
        shutil.rmtree(app_dir / UNSTACKED, ignore_errors=True)
    except BaseException:
        # A folder with a part of the studies would look like an app.
        for entry in app_dir.iterdir() if app_dir.is_dir() else ():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not had_folder and app_dir.exists():
            app_dir.rmdir()
        raise
    return {
        "app": str(app_dir),
        "layout": found.layout,
        "studies": done.studies,
        "labels": done.labels,
        "refused": done.refused,
        "notes": [*found.notes, *plan.notes],
        "plan": {key: {"value": one.value, "reason": one.reason} for key, one in plan.choices.items() if one.reason},
        "next": [
            f"python -m lib train {shlex.quote(str(app_dir))} --task {TASK}",
            f"python -m lib serve {shlex.quote(str(app_dir))}",
        ],
        "folder_of_studies": str(app_dir / STUDIES),
    }


def _pattern(name: str, files: Mapping[str, Path]) -> str:
    """Return the pattern, in the folder of studies, of the files of a channel."""
    first = next(iter(files.values()))
    suffix = "" if first.is_dir() else split_suffix(first.name, SUFFIXES)[1]
    return f"{CHANNELS}/{name}/*{suffix}"
