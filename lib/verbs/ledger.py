"""Commands for the ledger: show its rows, and verify the rows and the files that they name."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lib.verbs.arguments import App, Json, check_app
from lib.verbs.console import exit_with_error, print_answer, run_or_exit

ledger = typer.Typer(
    no_args_is_help=True, help="The ledger: show its rows, and verify the rows and the files that they name."
)


@ledger.command("verify")
def ledger_verify(
    app: App,
    studies: Annotated[Path | None, typer.Option(help="folder of images; its final labels are checked too")] = None,
    as_json: Json = False,
) -> None:
    """Recompute the hash chain and the hashes of all label and model versions, and list the faults."""
    from lib.records.verify import verify

    answer = run_or_exit(lambda: verify(check_app(app), studies).as_dict())
    faults = answer["faults"]
    success = f"{answer['rows']} rows and {answer['files']} files are as they were recorded"
    print(json.dumps(answer) if as_json else "\n".join(faults or [success]))
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        exit_with_error(ValueError(f"{count} in {answer['rows']} rows and {answer['files']} files"))


@ledger.command("show")
def ledger_show(
    app: App,
    kind: Annotated[str, typer.Option(help="only rows of this kind: label, split, job, version or decision")] = "",
    subject: Annotated[str, typer.Option(help="only rows about this image, patient or task")] = "",
    label: Annotated[
        str, typer.Option(help="list the model versions trained on the label with this hash", metavar="SHA256")
    ] = "",
    last: Annotated[int, typer.Option(help="number of newest rows to show", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest rows, or list the model versions trained on a label.

    `models show` lists the labels that a model version was trained on.
    """
    from dataclasses import asdict

    from lib.records.ledger import Ledger
    from lib.tasks.serving.models import list_models_trained_on

    def work() -> dict[str, Any]:
        if label:
            return {"models": list_models_trained_on(app, label)}
        rows = Ledger.of(check_app(app)).rows(kind or None, subject or None)
        return {"rows": [asdict(row) for row in rows[-last:]], "of": len(rows)}

    print_answer(work, as_json)
