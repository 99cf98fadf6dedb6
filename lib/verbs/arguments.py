"""Arguments that several verbs take, and what is checked of them."""

from pathlib import Path
from typing import Annotated

import typer

App = Annotated[Path, typer.Argument(help="folder of the app, with its app.toml", metavar="APP")]
Task = Annotated[str, typer.Option(help="name of the task in app.toml")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on standard output, nothing else")]


def existing(app: Path) -> Path:
    """Return the folder of an app.

    Raises:
        ValueError: If it has no app.toml.
    """
    if not (app / "app.toml").is_file():
        raise ValueError(f"there is no app.toml in {app}")
    return app


def options_of(said: list[str] | None) -> dict[str, str]:
    """Return what ``--set KEY=VALUE`` said.

    Raises:
        typer.BadParameter: If one has no value.
    """
    if wrong := [option for option in said or [] if "=" not in option]:
        raise typer.BadParameter(f"--set takes KEY=VALUE, got {wrong[0]!r}")
    return dict(option.split("=", 1) for option in said or [])
