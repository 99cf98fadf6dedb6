"""Clicks of a simulated annotator on the real head CT, before and after LoRA training on procedural cases.

``python -m benchmarks.head_ct_clicks``; the CT (`make sample`) is not training data. Pictures go to ``build/``.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
import numpy as np

from benchmarks.harness.paths import ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table
from lib.data.formats import load
from lib.data.volumes.stack import Stack
from lib.evaluation.metrics.clicks import Click, Session, simulate_session, summarise
from lib.evaluation.metrics.overlap import dice
from lib.models.weights import save_weights
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.request import ClickRequest, Marks
from lib.tasks.serving.weights import ServedWeights, build_network, served_weights
from lib.tasks.spec import load_app

STUDY, REFERENCE = (ROOT / "sample-data" / place / "head_ct.nii.gz" for place in ("studies", "reference"))
APP, TASK = ROOT / "apps" / "airway", "sam_lora"
SLICES, CLICKS, AFTER = 10, 5, (1, 3, 5)


def main() -> None:
    """Run from the command line."""
    task = load_app(APP).task(TASK)
    with TemporaryDirectory() as folder:
        untrained = save_weights(build_network(task), Path(folder) / "untaught.safetensors")
        arms: dict[str, Callable[[], ServedWeights]] = {
            "LiteMedSAM, untaught": lambda: ServedWeights("untaught", untrained),
            "after LoRA": lambda: served_weights(APP, task),
        }
        # Every arm has its own clicker, so that no cached embedding is shared.
        results = {name: study(Clicker(task, weights, prefetch=False), name) for name, weights in arms.items()}
    rows = []
    for name, found in results.items():
        means = [mean_range(found[f"after_{n}"]) for n in AFTER]
        rows.append([name, *means, f"{np.mean(found['box']):.3f}", f"{found['volume']:.3f}"])
    heads = ["network", *(f"Dice after {n}" for n in AFTER), "box alone", "volume from 3 clicked slices"]
    lines = markdown_table(heads, "lr", rows)
    note = (
        f"{SLICES} evenly spaced axial slices of the one real head CT; the object is all air of the reference.\n"
        "Clicks only, no box, at the innermost pixel of the largest error region; mean and range. The volume:\n"
        f"{CLICKS} clicks on each of three slices, at 1/4, 1/2 and 3/4 of the height, followed to the other slices.\n"
        "One patient shows that transfer is possible, but not the accuracy."
    )
    command = "python -m benchmarks.head_ct_clicks"
    write_result("head_ct_clicks", command, {"results": results}, "\n".join([*lines, "", note]))


def mean_range(values: list[float]) -> str:
    """Render a mean with its range."""
    return f"{np.mean(values):.3f} ({min(values):.2f}-{max(values):.2f})"


def study(clicker: Clicker, name: str) -> dict[str, Any]:
    """Return the scores of the simulated annotator with one network."""
    opened, whole = clicker.open(STUDY), clicker.task.object
    reference = Stack(load(REFERENCE)).masks(load(REFERENCE).voxels)
    labelled = sorted(reference)
    chosen = [labelled[i] for i in np.linspace(0, len(labelled) - 1, SLICES + 2).round().astype(int)[1:-1]]

    def segment(marks: Marks, index: int | None) -> np.ndarray:
        return clicker.draw(opened, ClickRequest({whole: marks}, index), {whole: 1}).label

    def run_session(index: int) -> tuple[Session, np.ndarray]:
        shown: list[np.ndarray] = [np.zeros(opened.stack.plane_shape, bool)]

        def answer(clicks: Sequence[Click]) -> np.ndarray:
            shown.append(_plane(opened.stack, segment(_marks(opened.stack, clicks, index), index), index))
            return shown[-1]

        return simulate_session(answer, reference[index].numpy() > 0, max_clicks=CLICKS), shown[-1]

    sessions = {index: run_session(index) for index in chosen}
    boxes = []
    for index in chosen:
        target = reference[index].numpy() > 0
        rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
        box = tuple(
            opened.stack.file_voxel(index, int(r), int(c)) for r, c in ((rows[0], columns[0]), (rows[-1], columns[-1]))
        )
        ends = tuple(tuple(f(pair) for pair in zip(*box, strict=True)) for f in (min, max))
        found = _plane(opened.stack, segment(Marks(box=ends), index), index)  # type: ignore[arg-type]
        boxes.append(dice(found, target))
    draw(ROOT / "build" / f"head_ct_clicks_{name.split()[0]}.png", opened.stack, sessions, reference)
    clicked = [labelled[round(len(labelled) * share)] for share in (0.25, 0.5, 0.75)]
    marks = [_marks(opened.stack, run_session(index)[0].clicks, index) for index in clicked]
    joined = Marks(sum((m.foreground for m in marks), ()), sum((m.background for m in marks), ()))
    volume = segment(joined, None) > 0
    print(name, "summary", summarise([session for session, _ in sessions.values()], CLICKS), flush=True)
    return {
        **{f"after_{n}": [session.dice_after(n) for session, _ in sessions.values()] for n in AFTER},
        "slices": chosen,
        "clicked_slices": clicked,
        "box": boxes,
        "volume": dice(volume, load(REFERENCE).voxels > 0),
        "summary": dataclasses.asdict(summarise([session for session, _ in sessions.values()], CLICKS)),
    }


def _marks(stack: Stack, clicks: Sequence[Click], index: int) -> Marks:
    on, outside = (
        tuple(stack.file_voxel(index, c.row, c.column) for c in clicks if c.foreground is s) for s in (True, False)
    )
    return Marks(on, outside)


def _plane(stack: Stack, label: np.ndarray, index: int) -> np.ndarray:
    plane = stack.masks(label).get(index)
    return np.zeros(stack.plane_shape, bool) if plane is None else plane.numpy() > 0


def draw(path: Path, stack: Stack, sessions: dict[int, tuple[Session, np.ndarray]], reference: dict[int, Any]) -> None:
    """Draw every slice with its reference, mask and clicks."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 5, figsize=(20, 8.6))
    for axis, (index, (session, mask)) in zip(axes.flat, sessions.items(), strict=True):
        axis.imshow(stack.plane(index).T, cmap="gray", vmin=-1000, vmax=400, origin="lower")
        axis.contour(reference[index].numpy().T > 0, [0.5], colors="white", linewidths=0.8)
        axis.imshow(np.ma.masked_equal(mask.T, 0), cmap="autumn", alpha=0.45, origin="lower")
        for click in session.clicks:
            axis.plot(click.row, click.column, "g+" if click.foreground else "rx", markersize=9)
        axis.set_title(f"slice {index}: Dice {session.dice[-1]:.3f} after {len(session.clicks)}")
        axis.axis("off")
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=60)
