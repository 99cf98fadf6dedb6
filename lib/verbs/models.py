"""Model versions on the command line: what there is, what is served, and the admin's word."""

from typing import Annotated

import typer

from lib.verbs.arguments import App, Json, Task
from lib.verbs.console import tell

models = typer.Typer(no_args_is_help=True, help="Model versions: what there is, what is served, and the admin's word.")
Version = Annotated[str, typer.Argument(help="name of the version", metavar="VERSION")]
User = Annotated[str, typer.Option("--by", help="who decides this, for the ledger")]


@models.command("list")
def models_list(app: App, task: Annotated[str, typer.Option(help="one task only")] = "", as_json: Json = False) -> None:
    """Tell every version of every task: served, waiting or kept, and the last decision about it."""
    from lib.tasks.serving.models import list_models

    tell(lambda: list_models(app, task), as_json)


@models.command("show")
def models_show(app: App, task: Task, version: Version, as_json: Json = False) -> None:
    """Tell a version's card, the labels it learned from, and every decision about it."""
    from lib.tasks.serving.models import show_model

    tell(lambda: show_model(app, task, version), as_json)


@models.command("promote")
def models_promote(app: App, task: Task, version: Version, by: User = "", as_json: Json = False) -> None:
    """Serve a version that the gate held or rejected; the next image is answered by it."""
    from lib.tasks.serving.models import promote

    tell(lambda: promote(app, task, version, by=by), as_json)


@models.command("rollback")
def models_rollback(app: App, task: Task, by: User = "", as_json: Json = False) -> None:
    """Serve what was served before."""
    from lib.tasks.serving.models import rollback

    tell(lambda: rollback(app, task, by=by), as_json)
