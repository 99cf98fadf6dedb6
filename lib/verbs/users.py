"""Commands for the users file: add, remove and list users and their roles."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lib.verbs.arguments import Json
from lib.verbs.console import print_answer

users = typer.Typer(no_args_is_help=True, help="The users file of `serve --users`: add, remove and list users.")
UsersFile = Annotated[Path, typer.Argument(help="users file; `add` creates it if absent", metavar="FILE")]
Name = Annotated[str, typer.Argument(help="name of the user", metavar="NAME")]


@users.command("add")
def users_add(
    file: UsersFile,
    name: Name,
    role: Annotated[str, typer.Option(help="user, annotator, reviewer or admin")] = "annotator",
    as_json: Json = False,
) -> None:
    """Add a user, or change the password and role of a user; the command prompts for the password."""
    from lib.server.auth.users import add_user

    # Not an argument: the shell's history and the list of processes show arguments.
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)

    def work() -> dict[str, Any]:
        add_user(file, name, password, role)
        return {"file": str(file), "name": name, "role": role}

    print_answer(work, as_json)


@users.command("remove")
def users_remove(file: UsersFile, name: Name, as_json: Json = False) -> None:
    """Remove a user and end the user's sessions at once."""
    from lib.server.auth.users import remove_user

    def work() -> dict[str, Any]:
        remove_user(file, name)
        return {"file": str(file), "removed": name}

    print_answer(work, as_json)


@users.command("list")
def users_list(file: UsersFile, as_json: Json = False) -> None:
    """List the users and their roles."""
    from lib.server.auth.users import read_users

    print_answer(lambda: {"users": {name: user.role for name, user in read_users(file).items()}}, as_json)
