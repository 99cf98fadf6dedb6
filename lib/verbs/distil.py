"""Distillation on the command line: the experiment, and the images that are made for students."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lib.verbs.arguments import App, Json, Task, options_of
from lib.verbs.console import progress, tell

distil = typer.Typer(no_args_is_help=True, help="Distillation: the experiment, and images made for students.")


@distil.command("experiment")
def distil_experiment(
    plan: Annotated[Path, typer.Argument(help="TOML file: images, arms, labels, seeds and steps", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="folder for runs, table and curves; what it holds is not run again")],
    at_once: Annotated[int, typer.Option(help="processes side by side", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Compare task-specific distillation with its baselines, for several numbers of labels and seeds."""
    from lib.learning.experiment.plan import load_plan
    from lib.learning.experiment.run import run

    def work() -> dict[str, Any]:
        return run(load_plan(plan), out, at_once=at_once, progress=progress(f"running {plan.stem}"))

    tell(work, as_json)


@distil.command("synthesise")
def distil_synthesise(
    app: App,
    task: Task,
    studies: Annotated[Path, typer.Option(help="folder of images with their accepted labels in labels/final")],
    count: Annotated[int, typer.Option(help="images to make", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="of maps and noise")] = 0,
    maps: Annotated[str, typer.Option(help="what to make images of: phantom or labels")] = "phantom",
    options: Annotated[
        list[str] | None, typer.Option("--set", help="option of the recipe", metavar="KEY=VALUE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Teach a diffusion model a task's images, and make new ones for its student to be shown; copies are left out."""
    from lib.tasks.training.synthesis import synthesise

    def work() -> dict[str, Any]:
        return synthesise(
            app,
            task,
            studies,
            count=count,
            seed=seed,
            maps=maps,
            options=options_of(options),
            progress=progress("making images"),
        )

    tell(work, as_json)
