"""Commands for model versions: list and show versions, promote a version, and roll back."""

from typing import Annotated

import typer

from lib.verbs.arguments import App, Json, Task
from lib.verbs.console import print_answer

models = typer.Typer(no_args_is_help=True, help="Model versions: list and show versions, promote one, and roll back.")
Version = Annotated[str, typer.Argument(help="name of the version", metavar="VERSION")]
User = Annotated[str, typer.Option("--by", help="name of the person who decides, for the ledger")]


@models.command("list")
def models_list(
    app: App, task: Annotated[str, typer.Option(help="list this task only")] = "", as_json: Json = False
) -> None:
    """List the versions of every task with their state (served, waiting or kept) and the last decision about them."""
    from lib.tasks.serving.models import list_models

    print_answer(lambda: list_models(app, task), as_json)


@models.command("show")
def models_show(app: App, task: Task, version: Version, as_json: Json = False) -> None:
    """Show the card of a version, the labels that it was trained on, and every decision about it."""
    from lib.tasks.serving.models import show_model

    print_answer(lambda: show_model(app, task, version), as_json)


@models.command("promote")
def models_promote(app: App, task: Task, version: Version, by: User = "", as_json: Json = False) -> None:
    """Serve a version that the gate held or rejected, from the next image on."""
    from lib.tasks.serving.models import promote

    print_answer(lambda: promote(app, task, version, by=by), as_json)


@models.command("rollback")
def models_rollback(app: App, task: Task, by: User = "", as_json: Json = False) -> None:
    """Serve again the version that was served before."""
    from lib.tasks.serving.models import rollback

    print_answer(lambda: rollback(app, task, by=by), as_json)
