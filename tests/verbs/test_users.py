import json
from pathlib import Path

from typer.testing import CliRunner

from lib.__main__ import cli
from tests.command import run


def test_users_are_added_listed_and_removed_with_a_prompted_password(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    asked = CliRunner().invoke(
        cli, ["users", "add", str(file), "anna", "--role", "reviewer", "--json"], input="a long password\n" * 2
    )
    assert asked.exit_code == 0 and json.loads(asked.stdout)["role"] == "reviewer"
    assert "a long password" not in asked.output + file.read_text()
    assert json.loads(run("users", "list", file, "--json").stdout) == {"users": {"anna": "reviewer"}}
    assert run("users", "add", file, "ben", "--password", "x").exit_code == 2
    assert run("users", "remove", file, "anna").exit_code == 0 and run("users", "remove", file, "anna").exit_code == 1


def test_a_short_password_or_an_unknown_role_is_refused(tmp_path: Path) -> None:
    for arguments, password, reason in (
        ([], "short", "characters"),
        (["--role", "root"], "a long password", "no role"),
    ):
        command = ["users", "add", str(tmp_path / "users.toml"), "anna", *arguments]
        refused = CliRunner().invoke(cli, command, input=f"{password}\n" * 2)
        assert refused.exit_code == 1 and reason in refused.output and not list(tmp_path.iterdir())
