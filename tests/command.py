"""The command line, called in this process."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from lib.__main__ import cli


def run(*arguments: str | Path) -> Result:
    """Return what a command printed, and its status."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, [str(argument) for argument in arguments])
