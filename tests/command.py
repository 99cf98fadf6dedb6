"""Run the command line in the test process."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from lib.__main__ import cli


def run(*arguments: str | Path) -> Result:
    """Run a command and return its output and exit status."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, [str(argument) for argument in arguments])
