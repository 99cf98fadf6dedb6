"""The ledger on the command line: what happened, and whether it is still as it was written."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lib.verbs.arguments import App, Json, existing
from lib.verbs.console import attempt, fail, tell

ledger = typer.Typer(no_args_is_help=True, help="The ledger: what happened, and whether it is still as it was written.")


@ledger.command("verify")
def ledger_verify(
    app: App,
    studies: Annotated[Path | None, typer.Option(help="folder whose final labels are compared as well")] = None,
    as_json: Json = False,
) -> None:
    """Recompute the chain and the hashes of all label and model versions, and name what does not match."""
    from lib.records.verify import verify

    answer = attempt(lambda: verify(existing(app), studies).as_dict())
    faults = answer["faults"]
    well = f"{answer['rows']} rows and {answer['files']} files are as they were recorded"
    print(json.dumps(answer) if as_json else "\n".join(faults or [well]))
    if faults:
        found = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        fail(ValueError(f"{found} in {answer['rows']} rows and {answer['files']} files"))


@ledger.command("show")
def ledger_show(
    app: App,
    kind: Annotated[str, typer.Option(help="label, split, job, version or decision")] = "",
    subject: Annotated[str, typer.Option(help="an image, a patient or a task")] = "",
    label: Annotated[str, typer.Option(help="the models that learned from this label", metavar="SHA256")] = "",
    last: Annotated[int, typer.Option(help="only so many rows, the newest", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Tell the newest rows, or which models learned from a label; the other way is `models show`."""
    from dataclasses import asdict

    from lib.records.ledger import Ledger
    from lib.tasks.serving.models import models_of

    def work() -> dict[str, Any]:
        if label:
            return {"models": models_of(app, label)}
        rows = Ledger.of(existing(app)).rows(kind or None, subject or None)
        return {"rows": [asdict(row) for row in rows[-last:]], "of": len(rows)}

    tell(work, as_json)
