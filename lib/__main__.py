"""``python -m lib <command>``: serve an app, and use TopoLabel without a viewer.

Libraries are imported inside the commands, so that ``--help`` and errors in arguments answer at once.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

import lib
from lib.verbs.arguments import App, Json, Task, check_app, find_studies, parse_options
from lib.verbs.console import exit_with_error, print_answer, print_status, progress_bar
from lib.verbs.distil import distil
from lib.verbs.jobs import jobs
from lib.verbs.ledger import ledger
from lib.verbs.models import models
from lib.verbs.new import new
from lib.verbs.users import users

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
cli.add_typer(jobs, name="jobs")
cli.add_typer(models, name="models")
cli.add_typer(distil, name="distil")
cli.add_typer(users, name="users")
cli.add_typer(ledger, name="ledger")
cli.command("new")(new)


@cli.command()
def serve(
    app: App,
    studies: Annotated[
        str, typer.Option(help="folder of images, or the URL of a DICOMweb server (default: APP/studies)")
    ] = "",
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 8000,
    users: Annotated[str, typer.Option(help="users file; its users sign in with a password", metavar="FILE")] = "",
    oidc: Annotated[str, typer.Option(help="OIDC realm; its users sign in there", metavar="URL")] = "",
    audience: Annotated[str, typer.Option(help="audience that the tokens of the OIDC realm must name")] = "",
    is_open: Annotated[bool, typer.Option("--open", help="serve the network without sign-in")] = False,
    parent: Annotated[int, typer.Option(help="id of a process; the server ends with it", hidden=True)] = 0,
) -> None:
    """Serve an app to OHIF, 3D Slicer and scripts.

    Without --users or --oidc every client has the role admin, and the server answers only this machine.
    """
    from lib.jobs.queue.exit_with_parent import exit_with_parent
    from lib.server.auth.access import Access
    from lib.server.serve import serve as run

    exit_with_parent(parent)
    try:
        given = Access(users, oidc, audience, is_open).variables()
        run(app, find_studies(app, studies), host=host, port=port, access=Access.from_environment(os.environ | given))
    except (ValueError, OSError, RuntimeError) as error:
        exit_with_error(error)


@cli.command()
def infer(
    app: App,
    task: Task,
    image: Annotated[Path, typer.Option(help="image in a format that the input gate accepts")],
    output: Annotated[Path, typer.Option(help="file to write: label or restored scan on the grid of the image")],
    as_json: Json = False,
) -> None:
    """Segment or restore one image; the result has exactly the grid of the image."""
    from lib.tasks.kinds import kind_of
    from lib.tasks.spec import load_app

    def work() -> dict[str, Any]:
        kind = kind_of(load_app(app).task(task))
        return kind.infer_file(app, task, image, output, progress_bar(f"reading {image.name}"))

    print_answer(work, as_json)


@cli.command()
def train(
    app: App,
    task: Task,
    studies: Annotated[
        str, typer.Option(help="folder of images with their labels in labels/final (default: APP/studies)")
    ] = "",
    options: Annotated[
        list[str] | None, typer.Option("--set", help="option of the recipe", metavar="KEY=VALUE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a task with the recipe that the server runs, and write a model version."""
    from lib.tasks.training.retrain import retrain

    print_answer(lambda: retrain(app, task, find_studies(app, studies), parse_options(options)).as_dict(), as_json)


@cli.command()
def evaluate(
    app: App,
    task: Task,
    study: Annotated[str | None, typer.Option(help="study of sample-data, such as head_ct", metavar="ID")] = None,
    images: Annotated[Path | None, typer.Option(help="folder of images")] = None,
    labels: Annotated[Path | None, typer.Option(help="folder of labels with the names of the images")] = None,
    as_json: Json = False,
) -> None:
    """Compute every metric of a task per class and case, with 95 % intervals, and draw overlay pictures.

    Without --study and --images, the held-out cases of the app's own studies are evaluated.
    A study of sample-data is evaluated unchanged, with noise, with shifted HU and with thick slices, and compared with
    two rules that only threshold the HU values.
    """
    from lib.data.cases import find_cases
    from lib.tasks.segmentation.segmenter import Segmenter
    from lib.tasks.spec.kinds import AIR
    from lib.tasks.training.checked_cases import held_out_cases
    from lib.tasks.training.evaluate import evaluate_cases, evaluate_study

    def work() -> dict[str, Any]:
        options = "give either --study ID, or --images DIR with --labels DIR"
        if study is not None and images is not None:
            raise ValueError(options)
        own = "" if study or images else find_studies(app, None, options)
        segmenter = Segmenter.from_task(app, task)
        names, out = segmenter.task.label_values, lib.REPOSITORY / "build" / "evaluation" / task

        def segment(path: Path) -> Any:
            return segmenter.segment(path).label

        if study is not None and segmenter.task.baseline != AIR:
            raise ValueError(f"--study is a CT of the airway, and '{task}' segments something else: give --images DIR")
        if study is not None:
            paths = [lib.REPOSITORY / "sample-data" / kind / f"{study}.nii.gz" for kind in ("studies", "reference")]
            if not all(path.exists() for path in paths):
                raise FileNotFoundError(
                    f"there is no study '{study}' with a reference in sample-data; run `make sample`"
                )
            return evaluate_study(segment, paths[0], paths[1], names, out=out, progress=print_status)
        cases = find_cases(images, labels) if images else held_out_cases(app, own)
        return evaluate_cases(
            segment,
            cases,
            names,
            modality=segmenter.task.image.modality,
            baseline=segmenter.task.baseline,
            out=out,
            progress=print_status,
        )

    print_answer(work, as_json)


@cli.command()
def scores(
    app: App,
    task: Task,
    studies: Annotated[
        str, typer.Option(help="folder of images with their labels in labels/final (default: APP/studies)")
    ] = "",
    as_json: Json = False,
) -> None:
    """Score every study without a label for the strategies: uncertainty, topology and volumes per class."""
    from lib.models.inference.engine import select_device
    from lib.tasks.spec import load_app
    from lib.tasks.strategies.score_cases import score_folder

    def work() -> dict[str, Any]:
        folder, spec = find_studies(app, studies), load_app(app).task(task)
        advance = progress_bar(f"scoring {folder}")
        device = str(select_device())
        return score_folder(
            app, spec, folder, device=device, on_progress=lambda now: advance(round(100 * now.fraction), 100)
        )

    print_answer(work, as_json)


@cli.command()
def export(
    app: App,
    task: Task,
    out: Annotated[Path, typer.Option(help="ONNX file to write")],
    int8: Annotated[
        Path | None, typer.Option(help="write an int8 network, calibrated on the images of this folder", metavar="DIR")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the served student as an ONNX file, for programs without torch.

    With --int8 the answer has the agreement of the int8 network with the float32 network.
    """
    from lib.tasks.serving.export import export_student

    print_answer(lambda: export_student(app, task, out, images=int8), as_json)


@cli.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="images to check", metavar="FILE ...")],
    modality: Annotated[
        str, typer.Option(help="what the images must be, as in app.toml: CT, MR, PT, NM, US, XR, RGB or any")
    ] = "CT",
    as_json: Json = False,
) -> None:
    """Check files with the input gate and print a code, a reason and a remedy for each fault."""
    from lib.data.modality import MODALITIES
    from lib.data.validate import inspect

    if modality not in MODALITIES:
        raise typer.BadParameter(f"'{modality}' is none of {', '.join(MODALITIES)}", param_hint="--modality")
    notes = {str(file): found for file in files if (found := _notes(file))}
    verdicts = {str(file): [vars(finding) for finding in inspect(file, modality=modality)] for file in files}
    refused = any(verdicts.values())
    if as_json:
        print(json.dumps({"ok": not refused, "files": verdicts, "notes": notes}))
    else:
        for file, findings in verdicts.items():
            print(f"{file}: {'refused' if findings else 'accepted'}")
            for note in () if findings else notes.get(file, ()):
                print(f"  note: {note}")
            for finding in findings:
                print("  {code}: {reason}\n    {remedy}".format(**finding))
    raise typer.Exit(1 if refused else 0)


def _notes(file: Path) -> list[str]:
    """Return the notes on an image that can be read, such as a tilted gantry."""
    from lib.data.findings import InputRejected
    from lib.data.formats import read_header

    try:
        return list(read_header(file).notes)
    except InputRejected:
        return []


@cli.command()
def phantom(
    count: Annotated[int, typer.Option(help="number of cases", min=1)],
    seed: Annotated[int, typer.Option(help="seed; the same seed gives the same cases")],
    out: Annotated[Path, typer.Option(help="folder to write; it can be served or trained on")],
    of: Annotated[str, typer.Option(help="kind of cohort: airway, or skeleton for pairs of bone scans")] = "airway",
    as_json: Json = False,
) -> None:
    """Make a procedural cohort: images with exact labels or standard scans, a file of true values, and a picture."""
    from lib.data.phantom import write_cohort
    from lib.data.scintigraphy.skeleton import write_pairs

    def work() -> dict[str, Any]:
        makers = {"airway": write_cohort, "skeleton": write_pairs}
        if of not in makers:
            raise ValueError(f"there is no cohort '{of}': choose one of {', '.join(makers)}")
        makers[of](out, count=count, seed=seed, progress=progress_bar(f"making {count} procedural cases"))
        return {"out": str(out), "count": count, "seed": seed, "picture": str(out / "about" / "cohort.png")}

    print_answer(work, as_json)


@cli.command()
def simulate(
    app: App,
    task: Task,
    cases: Annotated[Path, typer.Option(help="folder of images with their reference labels in labels/final")],
    out: Annotated[Path, typer.Option(help="folder for the results; an interrupted simulation continues from it")],
    strategies: Annotated[
        str, typer.Option(help="names of strategies, separated by commas; empty for all that the server offers")
    ] = "",
    seeds: Annotated[int, typer.Option(help="number of seeds per strategy", min=1)] = 5,
    person: Annotated[str, typer.Option(help="simulated annotator: oracle, noisy, lazy or clicking")] = "oracle",
    rounds: Annotated[int, typer.Option(help="number of rounds of labelling and training", min=2)] = 5,
    batch: Annotated[int, typer.Option(help="number of studies labelled per round", min=1)] = 4,
    test: Annotated[int, typer.Option(help="number of patients in the test set", min=1)] = 12,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="option of the recipe, for every training", metavar="KEY=VALUE")
    ] = None,
    starter: Annotated[bool, typer.Option(help="begin with the app's starter weights")] = False,
    at_once: Annotated[int, typer.Option(help="servers that run at the same time", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Simulate active learning on labelled cases with a real server, and compare the strategies.

    Every strategy gets the same cases, seeds and training options. The server gets a label only by its submission.
    """
    from lib.data.cases import find_cases, require_complete_labels
    from lib.data.split import split_pool_and_test
    from lib.simulation.campaign import Plan
    from lib.simulation.people import PEOPLE
    from lib.simulation.rehearsal import known_strategies, rehearse

    def work() -> dict[str, Any]:
        if person not in PEOPLE:
            raise ValueError(f"there is no simulated annotator '{person}': choose one of {', '.join(PEOPLE)}")
        pool, judges = split_pool_and_test(require_complete_labels(find_cases(cases)), test)
        settings = {"rounds": rounds, "batch": batch, "options": parse_options(options), "starter": starter}
        threads = max(1, (os.cpu_count() or 1) // at_once)
        plan = Plan(check_app(app), task, pool, judges, PEOPLE[person](), threads=threads, **settings)
        names = [name for name in strategies.split(",") if name] or known_strategies(plan)
        bar = progress_bar(f"simulating {len(names)} strategies, {seeds} seeds")
        return rehearse(plan, names, range(seeds), out, at_once=at_once, progress=bar)

    print_answer(work, as_json)


if __name__ == "__main__":
    cli(prog_name="python -m lib")
