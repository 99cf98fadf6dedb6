"""The users file on the command line: who may come in, and as what."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lib.verbs.arguments import Json
from lib.verbs.console import tell

users = typer.Typer(no_args_is_help=True, help="The users file of `serve --users`: who may come in, and as what.")
UsersFile = Annotated[Path, typer.Argument(help="users file; add makes it", metavar="FILE")]
Name = Annotated[str, typer.Argument(help="name of the user", metavar="NAME")]


@users.command("add")
def users_add(
    file: UsersFile,
    name: Name,
    role: Annotated[str, typer.Option(help="user, annotator, reviewer or admin")] = "annotator",
    as_json: Json = False,
) -> None:
    """Add a user, or give one a new password and role; the password is asked for."""
    from lib.server.auth.users import add_user

    # Never an argument: those stand in the shell's history and in the list of processes.
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)

    def work() -> dict[str, Any]:
        add_user(file, name, password, role)
        return {"file": str(file), "name": name, "role": role}

    tell(work, as_json)


@users.command("remove")
def users_remove(file: UsersFile, name: Name, as_json: Json = False) -> None:
    """Remove a user, whose sessions end at once."""
    from lib.server.auth.users import remove_user

    def work() -> dict[str, Any]:
        remove_user(file, name)
        return {"file": str(file), "removed": name}

    tell(work, as_json)


@users.command("list")
def users_list(file: UsersFile, as_json: Json = False) -> None:
    """Tell the users and their roles."""
    from lib.server.auth.users import read_users

    tell(lambda: {"users": {name: user.role for name, user in read_users(file).items()}}, as_json)
