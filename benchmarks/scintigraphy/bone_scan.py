"""The served restorer on the one real bone scan, which is not training data, compared with other methods.

``python -m benchmarks.bone_scan``: the scan is thinned, restored, and compared with the complementary counts. The
strengths of smoothing are chosen on procedural scans, which also train the lesion observer. Smoothing is applied to the
camera's field only, as the starter is. The other methods are trained with the network and steps of the starter, some
with three seeds, and their runs are stored: ten minutes per run on one core.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.harness.paths import RESULTS, ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table, mean_sd
from benchmarks.scintigraphy.arms import ARMS, AS_SERVED, PLAIN, restorer
from benchmarks.scintigraphy.restoration import REAL_COLUMNS, gap, load_trained, parse_options, peers, train_all
from benchmarks.scintigraphy.scans import (
    TEST_SEED,
    TRAIN_SEED,
    Counts,
    Restorer,
    cohort,
    real_scan,
    score,
    score_real,
    standard_reader,
)
from lib.data.scintigraphy.picture import side_by_side
from lib.data.scintigraphy.thinning import thin
from lib.models.restoration import camera_field, restore_counts
from lib.models.restoration.nafnet import NAFNet
from lib.ops.anscombe import expected_counts, stabilise
from lib.tasks.serving.weights import build_network, served_weights
from lib.tasks.spec import load_app

APP = ROOT / "apps" / "scintigraphy"
STARTER, PUBLISHED, AS_STARTER = "the starter", "NAFNet on thinned scans", "the same, restored as the starter is"
ON_FIELD = "the same, on the field alone"
HALVES = "noise2noise on split counts"
SEEDS = 3
KEYS = ("psnr", "ssim")
WHOLE = 1 << 20
"""Window side that is larger than every scan."""
BUDGET = "--train 30 --fractions 0.5 0.25 0.1 --steps 4700 --batch 4 --size 64 --model nafnet_small"
"""Training budget of the starter, from its card, as options of `benchmarks.restoration`."""
NOTE = (
    "Means over {draws} draws of the thinned real scan (one view) and over the seeds of trained methods, with the SD"
    " over all of them; it measures the variation of counting and training, not of patients. PSNR and SSIM are computed"
    " against the complementary counts, whose own noise bounds them. Findings are those of an observer that is trained"
    " on the lesions of {cases} procedural cases in the images of each method, with the threshold that finds 80 % of"
    " them; a finding is confirmed if the observer of standard scans finds it in the whole scan. The column 'above it'"
    " compares the same draws, with an interval (Student's t). Methods trained for this comparison have the network,"
    " number of cases, steps, crops and fractions of the starter: {published} and the arm trained as the starter have"
    " {seeds} seeds, noise2noise has one, and noise2noise is restored as the starter is. {published}: as published,"
    " with channel attention over the whole image, its output scaled to the right total. Smoothing and the row below"
    " {published} are applied to the camera's field only."
)


def served() -> Restorer:
    """Return the restorer with the weights that the app serves."""
    task = load_app(APP).task("bone_scan")
    network = build_network(task, served_weights(APP, task).path).eval()
    return lambda counts, fraction: restore_counts(network, torch.from_numpy(counts), fraction).numpy()


def train_with_same_budget(options: argparse.Namespace) -> dict[str, list[Restorer]]:
    """Train the other methods with the budget of the starter; return one restorer per seed, by method."""
    rest = ["--pixel-mm", str(options.pixel_mm), "--at-once", str(options.at_once), "--teach-only"]
    several = parse_options([*BUDGET.split(), *rest, "--seeds", str(SEEDS), "--arms", PLAIN, AS_SERVED])
    once = parse_options([*BUDGET.split(), *rest, "--seeds", "1", "--arms", HALVES])
    for arguments in (several, once):
        train_all(arguments)
    plain, pairs = (
        [restorer(load_trained(arm, n, several), ARMS[arm]) for n in range(SEEDS)] for arm in (PLAIN, AS_SERVED)
    )
    published = [partial(restore_whole_image, load_trained(PLAIN, n, several, window=WHOLE)) for n in range(SEEDS)]
    halves = [restorer(load_trained(HALVES, 0, once), ARMS[HALVES])]
    on_field = [on_camera_field(restore) for restore in published]
    return {PUBLISHED: published, ON_FIELD: on_field, AS_STARTER: plain, HALVES: halves, AS_SERVED: pairs}


@torch.inference_mode()
def restore_whole_image(network: NAFNet, counts: Counts, fraction: float) -> Counts:
    """Restore the whole image with a network, and scale every view to the expected total counts."""
    restored = expected_counts(network(stabilise(torch.from_numpy(counts[:, None]).float(), fraction))[:, 0]).double()
    totals = counts.sum((1, 2), keepdims=True) / fraction
    return restored.numpy() * totals / restored.sum((1, 2), keepdim=True).clamp_min(1e-12).numpy()


def on_camera_field(restore: Restorer) -> Restorer:
    """Return a restorer that is applied only to the camera's field of every view."""

    def restored(counts: Counts, fraction: float) -> Counts:
        found = np.zeros(counts.shape)
        for view, recorded in enumerate(counts):
            field = camera_field(torch.from_numpy(recorded))
            found[view][field] = restore(recorded[field][None], fraction)[0]
        return found

    return restored


def draw(restorers: dict[str, Restorer], best: str, counts: NDArray[Any], fraction: float) -> None:
    """Write a picture: rapid scan, restored by the starter and by the best other method, difference, standard scan."""
    rapid, _ = thin(counts, fraction, np.random.default_rng([7, round(1000 * fraction)]))
    restored, reference = (restorers[name](rapid, fraction) for name in (STARTER, best))
    difference = (restored - rapid / fraction) / 2 + counts.mean()
    sheet = side_by_side([rapid / fraction, restored, reference, difference.clip(0), counts])
    sheet.save(RESULTS / "bone_scan.png")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--pixel-mm", type=float, default=2.26, help="pixel size of the scan, or a multiple")
    parser.add_argument("--cases", type=int, default=12, help="number of procedural cases for the observer")
    parser.add_argument("--draws", type=int, default=5, help="number of draws of the thinned scan")
    parser.add_argument("--at-once", type=int, default=1, help="number of parallel trainings")
    options = parser.parse_args()
    counts = real_scan(options.pixel_mm)
    if counts is None:
        return
    cases = cohort(options.cases, TEST_SEED, options.pixel_mm, lesions=5)
    untrained = peers(cohort(4, TRAIN_SEED, options.pixel_mm), options.fractions)
    restorers = {name: [on_camera_field(restore)] for name, restore in untrained.items()}
    restorers |= train_with_same_budget(options) | {STARTER: [served()]}
    standard, rows = standard_reader(cases), {}
    for fraction in options.fractions:
        for name, seeds in tqdm(restorers.items(), f"{fraction:g} of the counts"):
            scores = [score(restore, cases, fraction) for restore in seeds]
            real = [
                score_real(restore, counts, fraction, reader, standard, draw=n)
                for restore, (_, reader) in zip(seeds, scores, strict=True)
                for n in range(options.draws)
            ]
            mean = {key: float(np.mean([found[key] for found, _ in scores])) for key in ("recovery", "auc")}
            rows[f"{fraction:g}", name] = {"real": real, "cohort": mean}
    candidates = set(restorers) - {STARTER, AS_STARTER, AS_SERVED}
    best = max(candidates, key=lambda name: _mean(rows, options, name, "psnr"))
    draw({name: seeds[0] for name, seeds in restorers.items()}, best, counts, min(options.fractions))
    command = f"python -m benchmarks.bone_scan --fractions {' '.join(f'{f:g}' for f in options.fractions)}"
    command += f" --pixel-mm {options.pixel_mm:g} --cases {options.cases} --draws {options.draws}"
    figures = {f"{name}, {fraction}": row for (fraction, name), row in rows.items()}
    note = NOTE.format(draws=options.draws, cases=options.cases, published=PUBLISHED, seeds=SEEDS)
    write_result(
        "bone_scan", command, figures, "\n\n".join([*(table(rows, f"{f:g}") for f in options.fractions), note])
    )


def table(rows: dict[tuple[str, str], Any], fraction: str) -> str:
    """Render the scores of all methods at one fraction, on the real scan and on procedural lesions."""
    head = ["Method", *(title for title, _ in REAL_COLUMNS.values()), "procedural lesions: recovery", "observer AUC"]
    head += [f"{STARTER} above it: PSNR", "SSIM"]
    starter = rows[fraction, STARTER]["real"]
    lines = []
    for (part, name), row in rows.items():
        if part == fraction:
            cells = [
                mean_sd([scores[key] for scores in row["real"]], digits) for key, (_, digits) in REAL_COLUMNS.items()
            ]
            cells += [f"{row['cohort'][key]:.3f}" for key in ("recovery", "auc")]
            compared = name != STARTER and len(starter) > 1
            same = starter * (len(row["real"]) // len(starter))
            cells += [gap(same, row["real"], key, REAL_COLUMNS[key][1]) if compared else "-" for key in KEYS]
            lines.append([name, *cells])
    title = f"## {fraction} of the counts"
    return "\n".join([title, "", *markdown_table(head, "lr", lines), "", _compare_seeds(rows, fraction)])


def _compare_seeds(rows: dict[tuple[str, str], Any], fraction: str) -> str:
    """Render the effects of training and restoration: means over the draws of a seed, paired by seed."""
    seeds = {
        name: [
            {key: float(np.mean([row[key] for row in part])) for key in KEYS} for part in _parts(rows, fraction, name)
        ]
        for name in (PUBLISHED, ON_FIELD, AS_STARTER, AS_SERVED)
    }
    effects = []
    for name in (PUBLISHED, ON_FIELD, AS_STARTER):
        gaps = (f"{key.upper()} {gap(seeds[AS_SERVED], seeds[name], key, REAL_COLUMNS[key][1])}" for key in KEYS)
        effects.append(f"above {name} {', '.join(gaps)}")
    return f"{SEEDS} seeds, paired: the arm {AS_SERVED} lies {'; '.join(effects)}."


def _parts(rows: dict[tuple[str, str], Any], fraction: str, name: str) -> list[list[dict[str, float]]]:
    """Return the scores of the real scan, grouped by seed."""
    real = rows[fraction, name]["real"]
    draws = len(real) // SEEDS
    return [real[n * draws : (n + 1) * draws] for n in range(SEEDS)]


def _mean(rows: dict[tuple[str, str], Any], options: argparse.Namespace, name: str, key: str) -> float:
    found = [row[key] for fraction in options.fractions for row in rows[f"{fraction:g}", name]["real"]]
    return float(np.mean(found))
