"""``python -m lib <verb>``: everything without a viewer. Arguments and printing only; the work is done in the layers.

Libraries are imported inside the verbs, so that ``--help`` and a refused argument answer at once.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

import lib
from lib.verbs.arguments import App, Json, Task, existing, options_of
from lib.verbs.console import fail, progress, say, tell
from lib.verbs.distil import distil
from lib.verbs.jobs import jobs
from lib.verbs.ledger import ledger
from lib.verbs.models import models
from lib.verbs.users import users

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
cli.add_typer(jobs, name="jobs")
cli.add_typer(models, name="models")
cli.add_typer(distil, name="distil")
cli.add_typer(users, name="users")
cli.add_typer(ledger, name="ledger")


@cli.command()
def serve(
    app: App,
    studies: Annotated[str, typer.Option(help="folder of images, or the URL of a DICOMweb server")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 8000,
    users: Annotated[str, typer.Option(help="users file: people sign in", metavar="FILE")] = "",
    oidc: Annotated[str, typer.Option(help="OIDC realm: people sign in there", metavar="URL")] = "",
    audience: Annotated[str, typer.Option(help="what the realm's tokens must be for")] = "",
    is_open: Annotated[bool, typer.Option("--open", help="serve the network without signing in")] = False,
    parent: Annotated[int, typer.Option(help="process that this one ends with", hidden=True)] = 0,
) -> None:
    """Serve an app to OHIF, 3D Slicer and scripts.

    Without --users or --oidc everybody is the admin, and only this machine is answered.
    """
    from lib.jobs.queue.parent import end_with
    from lib.server.auth.access import Access
    from lib.server.serve import serve as run

    end_with(parent)
    try:
        said = Access(users, oidc, audience, is_open).variables()
        run(app, studies, host=host, port=port, access=Access.of(os.environ | said))
    except (ValueError, OSError, RuntimeError) as error:
        fail(error)


@cli.command()
def infer(
    app: App,
    task: Task,
    image: Annotated[Path, typer.Option(help="one image, any format that the input gate accepts")],
    output: Annotated[Path, typer.Option(help="label or restored scan to write, on the grid of the image")],
    as_json: Json = False,
) -> None:
    """Segment or restore one image; the result lies on exactly the source grid."""
    from lib.tasks.kinds import kind_of
    from lib.tasks.spec import load_app

    def work() -> dict[str, Any]:
        kind = kind_of(load_app(app).task(task))
        return kind.infer_file(app, task, image, output, progress(f"reading {image.name}"))

    tell(work, as_json)


@cli.command()
def train(
    app: App,
    task: Task,
    studies: Annotated[Path, typer.Option(help="folder of images with their accepted labels in labels/final")],
    options: Annotated[
        list[str] | None, typer.Option("--set", help="option of the recipe", metavar="KEY=VALUE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a task with the recipe that the server runs, and write a model version."""
    from lib.tasks.training.retrain import retrain

    tell(lambda: retrain(app, task, studies, options_of(options)).as_dict(), as_json)


@cli.command()
def evaluate(
    app: App,
    task: Task,
    study: Annotated[str | None, typer.Option(help="a study of sample-data, such as head_ct", metavar="ID")] = None,
    images: Annotated[Path | None, typer.Option(help="folder of images")] = None,
    labels: Annotated[Path | None, typer.Option(help="folder of their labels, of the same names")] = None,
    as_json: Json = False,
) -> None:
    """Judge a task: every metric per class and case, with intervals, and overlay pictures.

    A study is judged clean and under noise, shifted HU and thick slices, beside threshold rules.
    """
    from lib.data.cases import find_cases
    from lib.tasks.segmentation.segmenter import Segmenter
    from lib.tasks.training.evaluate import evaluate_cases, evaluate_study

    def work() -> dict[str, Any]:
        if (study is None) == (images is None):
            raise ValueError("give either --study ID, or --images DIR with --labels DIR")
        segmenter = Segmenter.from_task(app, task)
        names, out = segmenter.task.label_values, lib.REPOSITORY / "build" / "evaluation" / task

        def segment(path: Path) -> Any:
            return segmenter.segment(path).label

        if study is not None:
            paths = [lib.REPOSITORY / "sample-data" / kind / f"{study}.nii.gz" for kind in ("studies", "reference")]
            if not all(path.exists() for path in paths):
                raise FileNotFoundError(
                    f"there is no study '{study}' with a reference in sample-data; run `make sample`"
                )
            return evaluate_study(segment, paths[0], paths[1], names, out=out, progress=say)
        return evaluate_cases(segment, find_cases(images or "", labels), names, out=out, progress=say)

    tell(work, as_json)


@cli.command()
def scores(
    app: App,
    task: Task,
    studies: Annotated[Path, typer.Option(help="folder of images, their labels in labels/final")],
    as_json: Json = False,
) -> None:
    """Score every study without a label for the strategies: uncertainty, topology, volumes, by class."""
    from lib.models.inference.engine import device_of
    from lib.tasks.spec import load_app
    from lib.tasks.strategies.score_cases import score_folder

    def work() -> dict[str, Any]:
        advance, spec = progress(f"scoring {studies}"), load_app(app).task(task)
        return score_folder(
            app, spec, studies, device=str(device_of()), tell=lambda now: advance(round(100 * now.fraction), 100)
        )

    tell(work, as_json)


@cli.command()
def export(
    app: App,
    task: Task,
    out: Annotated[Path, typer.Option(help="ONNX file to write")],
    int8: Annotated[
        Path | None, typer.Option(help="int8, its ranges from the images of a folder", metavar="DIR")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the served student as ONNX, for programs without torch; of int8, how well it agrees with float32."""
    from lib.tasks.serving.export import export_student

    tell(lambda: export_student(app, task, out, images=int8), as_json)


@cli.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="images to check", metavar="FILE ...")], as_json: Json = False
) -> None:
    """Give the input gate's verdict on each file, with codes, reasons and remedies."""
    from lib.data.validate import inspect

    verdicts = {str(file): [vars(finding) for finding in inspect(file)] for file in files}
    refused = any(verdicts.values())
    if as_json:
        print(json.dumps({"ok": not refused, "files": verdicts}))
    else:
        for file, findings in verdicts.items():
            print(f"{file}: {'refused' if findings else 'accepted'}")
            for finding in findings:
                print("  {code}: {reason}\n    {remedy}".format(**finding))
    raise typer.Exit(1 if refused else 0)


@cli.command()
def phantom(
    count: Annotated[int, typer.Option(help="cases to make", min=1)],
    seed: Annotated[int, typer.Option(help="seed; the same seed gives the same cases")],
    out: Annotated[Path, typer.Option(help="folder to write; it can be served or trained on as it is")],
    of: Annotated[str, typer.Option(help="what to make: airway, or skeleton for pairs of bone scans")] = "airway",
    as_json: Json = False,
) -> None:
    """Make a procedural cohort: images with exact labels or standard scans, what is true of them, and a picture."""
    from lib.data.phantom import write_cohort
    from lib.data.scintigraphy.skeleton import write_pairs

    def work() -> dict[str, Any]:
        makers = {"airway": write_cohort, "skeleton": write_pairs}
        if of not in makers:
            raise ValueError(f"there is no cohort of '{of}'; there is: {', '.join(makers)}")
        makers[of](out, count=count, seed=seed, progress=progress(f"making {count} procedural cases"))
        return {"out": str(out), "count": count, "seed": seed, "picture": str(out / "about" / "cohort.png")}

    tell(work, as_json)


@cli.command()
def simulate(
    app: App,
    task: Task,
    cases: Annotated[Path, typer.Option(help="folder of images with their true labels in labels/final")],
    out: Annotated[Path, typer.Option(help="folder for the curves; one that was interrupted goes on there")],
    strategies: Annotated[
        str, typer.Option(help="names that the server offers, separated by commas; all if empty")
    ] = "",
    seeds: Annotated[int, typer.Option(help="rehearsals of each strategy", min=1)] = 5,
    person: Annotated[str, typer.Option(help="who labels: oracle, noisy, lazy or clicking")] = "oracle",
    rounds: Annotated[int, typer.Option(help="times that are labelled and trained", min=2)] = 5,
    batch: Annotated[int, typer.Option(help="studies labelled in each", min=1)] = 4,
    test: Annotated[int, typer.Option(help="patients that only judge", min=1)] = 12,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="option of the recipe, for every training", metavar="KEY=VALUE")
    ] = None,
    starter: Annotated[bool, typer.Option(help="begin with the app's starter weights")] = False,
    at_once: Annotated[int, typer.Option(help="servers side by side", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Rehearse active learning on labelled cases: what each strategy's labels bring, at a real server, over HTTP.

    Every strategy gets the same cases, seeds and trainings; the server never sees a label before it is submitted.
    """
    from lib.data.cases import find_cases
    from lib.data.split import divided
    from lib.simulation.campaign import Plan
    from lib.simulation.people import PEOPLE
    from lib.simulation.rehearsal import known_strategies, rehearse

    def work() -> dict[str, Any]:
        if person not in PEOPLE:
            raise ValueError(f"there is no person '{person}'; there is: {', '.join(PEOPLE)}")
        pool, judges = divided(find_cases(cases), test)
        given = {"rounds": rounds, "batch": batch, "options": options_of(options), "starter": starter}
        threads = max(1, (os.cpu_count() or 1) // at_once)
        plan = Plan(existing(app), task, pool, judges, PEOPLE[person](), threads=threads, **given)
        names = [name for name in strategies.split(",") if name] or known_strategies(plan)
        bar = progress(f"rehearsing {len(names)} strategies, {seeds} seeds")
        return rehearse(plan, names, range(seeds), out, at_once=at_once, progress=bar)

    tell(work, as_json)


if __name__ == "__main__":
    cli(prog_name="python -m lib")
