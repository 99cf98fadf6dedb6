"""``python -m lib <verb>``: everything without a viewer. Arguments and printing only; the work is done in the layers.

Libraries are imported inside the verbs, so that ``--help`` and a refused argument answer at once.
"""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

REPOSITORY = Path(__file__).resolve().parents[1]

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

App = Annotated[Path, typer.Argument(help="folder of the app, with its app.toml", metavar="APP")]
Task = Annotated[str, typer.Option(help="name of the task in app.toml")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on standard output, nothing else")]


@cli.command()
def serve(
    app: App,
    studies: Annotated[str, typer.Option(help="folder of images, or the URL of a DICOMweb server")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on")] = 8000,
) -> None:
    """Serve an app to OHIF, 3D Slicer and scripts."""
    from lib.server.serve import serve as run

    try:
        run(app, studies, host=host, port=port)
    except (ValueError, OSError, RuntimeError) as error:
        _fail(error)


@cli.command()
def infer(
    app: App,
    task: Task,
    image: Annotated[Path, typer.Option(help="one image, any format that the input gate accepts")],
    output: Annotated[Path, typer.Option(help="label to write, on the grid of the image")],
    as_json: Json = False,
) -> None:
    """Segment one image; the result lies on exactly the source grid."""
    from lib.data.pipeline import save_label
    from lib.tasks.segmenter import Segmenter

    def work() -> dict[str, Any]:
        result = Segmenter.from_task(app, task).segment(image, progress=_progress(f"segmenting {image.name}"))
        save_label(result.label, result.affine, output)
        return {"output": str(output), "model": result.version, "seconds": result.seconds, "labels": result.labels}

    _run(work, as_json)


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
    from lib.tasks.retrain import retrain

    _run(lambda: retrain(app, task, studies, _pairs(options or [])).as_dict(), as_json)


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
    from lib.tasks.evaluate import evaluate_cases, evaluate_study
    from lib.tasks.segmenter import Segmenter

    def work() -> dict[str, Any]:
        if (study is None) == (images is None):
            raise ValueError("give either --study ID, or --images DIR with --labels DIR")
        segmenter = Segmenter.from_task(app, task)
        names, out = segmenter.task.label_values, REPOSITORY / "build" / "evaluation" / task

        def segment(path: Path) -> Any:
            return segmenter.segment(path).label

        if study is not None:
            paths = [REPOSITORY / "sample-data" / kind / f"{study}.nii.gz" for kind in ("studies", "reference")]
            if not all(path.exists() for path in paths):
                raise FileNotFoundError(
                    f"there is no study '{study}' with a reference in sample-data; run `make sample`"
                )
            return evaluate_study(segment, paths[0], paths[1], names, out=out, progress=_say)
        return evaluate_cases(segment, find_cases(images or "", labels), names, out=out, progress=_say)

    _run(work, as_json)


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
    as_json: Json = False,
) -> None:
    """Make the procedural airway cohort: images, exact labels, topology, and a picture."""
    from lib.data.phantom import write_cohort

    def work() -> dict[str, Any]:
        write_cohort(out, count=count, seed=seed, progress=_progress(f"making {count} procedural cases"))
        return {"out": str(out), "count": count, "seed": seed, "picture": str(out / "cohort.png")}

    _run(work, as_json)


def _run(work: Callable[[], dict[str, Any]], as_json: bool) -> None:
    """Do the work; print its answer; on failure print one line of reason and leave with status 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("ignite").setLevel(logging.WARNING)
    answer: dict[str, Any] = {}
    try:
        # Libraries print where they like; standard output belongs to the answer.
        with redirect_stdout(sys.stderr):
            answer = work()
    except (ValueError, OSError, RuntimeError) as error:
        _fail(error)
    print(json.dumps(answer) if as_json else _readable(answer))


def _fail(error: Exception) -> NoReturn:
    """Leave with status 1 and one line of reason."""
    _say(f"error: {' '.join(str(error).split())}")
    raise typer.Exit(1) from None


def _readable(answer: Any, indent: str = "") -> str:
    if not isinstance(answer, dict):
        return f"{answer:.3f}" if isinstance(answer, float) else str(answer)
    lines = []
    for key, value in answer.items():
        nested = isinstance(value, dict) and value
        lines.append(f"{indent}{key}:" + ("\n" + _readable(value, indent + "  ") if nested else f" {_readable(value)}"))
    return "\n".join(lines)


def _pairs(options: list[str]) -> dict[str, str]:
    if wrong := [option for option in options if "=" not in option]:
        raise typer.BadParameter(f"--set takes KEY=VALUE, got {wrong[0]!r}")
    return dict(option.split("=", 1) for option in options)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _progress(title: str) -> Callable[[int, int], None]:
    """Return a callable ``(done, total)`` that draws one bar with its ETA on standard error."""
    from tqdm import tqdm

    bar = tqdm(desc=title, file=sys.stderr, leave=False)

    def tell(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return tell


if __name__ == "__main__":
    cli(prog_name="python -m lib")
