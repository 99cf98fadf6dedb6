"""The command that makes an app from a user's own studies."""

from pathlib import Path
from typing import Annotated

import typer

from lib.verbs.arguments import Json
from lib.verbs.console import print_answer, progress_bar


def new(
    app_dir: Annotated[Path, typer.Argument(help="folder of the new app", metavar="APP_DIR")],
    studies: Annotated[Path, typer.Option(help="folder of images, or of an nnU-Net, Decathlon or BIDS data set")],
    labels: Annotated[str, typer.Option(help="names of the labels, in the order of their values", metavar="A,B")] = "",
    labelled: Annotated[
        Path | None, typer.Option(help="folder of label files with the names of their images", metavar="DIR")
    ] = None,
    minutes: Annotated[float, typer.Option(help="minutes that a training may take on this machine")] = 30.0,
    as_json: Json = False,
) -> None:
    """Make an app for any anatomy: look at images and labels, choose, write app.toml with the reasons.

    Studies and labels are imported into APP_DIR, where serve, train and evaluate find them.
    """
    from lib.planning.new import new_app

    names = [name.strip() for name in labels.split(",") if name.strip()]
    print_answer(
        lambda: new_app(
            app_dir,
            studies,
            labels=names,
            labelled=labelled,
            minutes=minutes,
            progress=lambda title: progress_bar(title),
        ),
        as_json,
    )
