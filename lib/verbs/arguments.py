"""Arguments that several commands share, and their checks."""

from pathlib import Path
from typing import Annotated

import typer

App = Annotated[Path, typer.Argument(help="folder of the app, with its app.toml", metavar="APP")]
Task = Annotated[str, typer.Option(help="name of the task in app.toml")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on standard output, nothing else")]


STUDIES = "studies"
"""Folder of the studies in an app's folder, if the app has studies of its own."""


def find_studies(app: Path, given: str | None, remedy: str = "give --studies") -> str:
    """Return the studies that the user gives, or the folder of studies of the app.

    Args:
        app: Folder of the app.
        given: Folder or URL; empty or None if the user gives none.
        remedy: What to do if there is neither, for the message.
    Raises:
        ValueError: If there is neither.
    """
    if given:
        return given
    if not (app / STUDIES).is_dir():
        raise ValueError(f"{app} has no studies of its own: {remedy}")
    return str(app / STUDIES)


def check_app(app: Path) -> Path:
    """Return the folder of an app unchanged.

    Raises:
        ValueError: If the folder has no app.toml.
    """
    if not (app / "app.toml").is_file():
        raise ValueError(f"there is no app.toml in {app}: give the folder of an app")
    return app


def parse_options(pairs: list[str] | None) -> dict[str, str]:
    """Return the options of ``--set KEY=VALUE`` as a dict.

    Args:
        pairs: Texts ``KEY=VALUE``; None for no option.
    Raises:
        typer.BadParameter: If a text has no "=".
    """
    if wrong := [pair for pair in pairs or [] if "=" not in pair]:
        raise typer.BadParameter(f"--set takes KEY=VALUE, got {wrong[0]!r}")
    return dict(pair.split("=", 1) for pair in pairs or [])
