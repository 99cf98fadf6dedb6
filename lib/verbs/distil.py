"""Commands for distillation: run the experiment, and synthesise training images for students."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lib.verbs.arguments import App, Json, Task, parse_options
from lib.verbs.console import print_answer, progress_bar

distil = typer.Typer(
    no_args_is_help=True, help="Distillation: run the experiment, and synthesise training images for students."
)


@distil.command("experiment")
def distil_experiment(
    plan: Annotated[Path, typer.Argument(help="TOML file: images, arms, labels, seeds and steps", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="folder for runs, table and curves; finished runs in it are not repeated")],
    at_once: Annotated[int, typer.Option(help="processes that run at the same time", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Compare task-specific distillation with its baselines, for several numbers of labels and seeds."""
    from lib.learning.experiment.plan import load_plan
    from lib.learning.experiment.run import run

    def work() -> dict[str, Any]:
        return run(load_plan(plan), out, at_once=at_once, progress=progress_bar(f"running {plan.stem}"))

    print_answer(work, as_json)


@distil.command("synthesise")
def distil_synthesise(
    app: App,
    task: Task,
    studies: Annotated[Path, typer.Option(help="folder of images with their accepted labels in labels/final")],
    count: Annotated[int, typer.Option(help="images to make", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="seed of the label maps and the noise")] = 0,
    maps: Annotated[str, typer.Option(help="source of the label maps: phantom or labels")] = "phantom",
    options: Annotated[
        list[str] | None, typer.Option("--set", help="option of the recipe", metavar="KEY=VALUE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a diffusion model on the images of a task, and synthesise new training images for its student.

    Images that are copies of training images are left out.
    """
    from lib.tasks.training.synthesis import synthesise

    def work() -> dict[str, Any]:
        return synthesise(
            app,
            task,
            studies,
            count=count,
            seed=seed,
            maps=maps,
            options=parse_options(options),
            progress=progress_bar("making images"),
        )

    print_answer(work, as_json)
