"""The served restorer on the one real bone scan, which nothing learned from, beside its peers.

``python -m benchmarks.bone_scan``: the scan is thinned, restored, and held against the counts that were left out. The
strengths of smoothing are chosen on procedural scans, as the observer that looks for lesions is taught by them, and
smoothing is given the camera's field alone, as the starter is. What has to be taught gets the starter's network and
steps, some of it with three seeds, and is kept: ten minutes each on one core.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.machine import RESULTS, keep
from benchmarks.restoration import REAL_COLUMNS, asked, cell, gap, peers, taught, teach_all
from benchmarks.restoration_arms import ARMS, AS_SERVED, PLAIN, restorer
from benchmarks.scans import (
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

APP = Path(__file__).resolve().parents[1] / "apps" / "scintigraphy"
OURS, PUBLISHED, OURS_OF_IT = "the starter", "NAFNet on thinned scans", "the same, restored as the starter is"
ON_FIELD = "the same, on the field alone"
HALVES = "noise2noise on split counts"
SEEDS = 3
KEYS = ("psnr", "ssim")
WHOLE = 1 << 20
"""A window that no scan leaves."""
BUDGET = "--train 30 --fractions 0.5 0.25 0.1 --steps 4700 --batch 4 --size 64 --model nafnet_small"
"""The starter's own, of its card, in the words of `benchmarks.restoration`."""
NOTE = (
    "Means over {draws} ways to thin the one view of the real scan (seeds of the thinning) and over the seeds of what"
    " was taught, with the SD over all of them: it tells of counting and teaching, not of patients. PSNR and SSIM"
    " against the complementary counts, whose own noise bounds them. Findings: of an observer that learned from {cases}"
    " procedural cases' lesions as each method shows them, set to find 80 % of those; confirmed is what the observer of"
    " standard scans finds in the whole scan. Above it: the same draws against each other, with the interval of a"
    " bootstrap. What was taught beside the starter has its network, number of cases, steps, crops and fractions:"
    " {published} and what is taught as the starter is with {seeds} seeds, noise2noise with one and restored as the"
    " starter is. {published}: as published, its channel attention over the whole image, its output set right in total;"
    " smoothing is given the camera's field alone, and so is the row below it."
)


def served() -> Restorer:
    """Return the restorer that the app is served with."""
    task = load_app(APP).task("bone_scan")
    network = build_network(task, served_weights(APP, task).path).eval()
    return lambda counts, fraction: restore_counts(network, torch.from_numpy(counts), fraction).numpy()


def same_budget(options: argparse.Namespace) -> dict[str, list[Restorer]]:
    """Return what is taught as long as the starter was, by name, a restorer for each seed."""
    rest = ["--pixel-mm", str(options.pixel_mm), "--at-once", str(options.at_once), "--teach-only"]
    several = asked([*BUDGET.split(), *rest, "--seeds", str(SEEDS), "--arms", PLAIN, AS_SERVED])
    once = asked([*BUDGET.split(), *rest, "--seeds", "1", "--arms", HALVES])
    for lessons in (several, once):
        teach_all(lessons)
    plain, pairs = ([restorer(taught(arm, n, several), ARMS[arm]) for n in range(SEEDS)] for arm in (PLAIN, AS_SERVED))
    published = [partial(alone, taught(PLAIN, n, several, window=WHOLE)) for n in range(SEEDS)]
    halves = [restorer(taught(HALVES, 0, once), ARMS[HALVES])]
    on_field = [on_the_field(each) for each in published]
    return {PUBLISHED: published, ON_FIELD: on_field, OURS_OF_IT: plain, HALVES: halves, AS_SERVED: pairs}


@torch.inference_mode()
def alone(network: NAFNet, counts: Counts, fraction: float) -> Counts:
    """Return what a network makes of the whole image, one factor for each view setting the total right."""
    restored = expected_counts(network(stabilise(torch.from_numpy(counts[:, None]).float(), fraction))[:, 0]).double()
    totals = counts.sum((1, 2), keepdims=True) / fraction
    return restored.numpy() * totals / restored.sum((1, 2), keepdim=True).clamp_min(1e-12).numpy()


def on_the_field(restore: Restorer) -> Restorer:
    """Return a restorer that is given the camera's field alone, of every view."""

    def restored(counts: Counts, fraction: float) -> Counts:
        found = np.zeros(counts.shape)
        for view, recorded in enumerate(counts):
            field = camera_field(torch.from_numpy(recorded))
            found[view][field] = restore(recorded[field][None], fraction)[0]
        return found

    return restored


def draw(restorers: dict[str, Restorer], best: str, counts: NDArray[Any], fraction: float) -> None:
    """Write rapid, restored by us and by the best peer, standard, and what was changed, side by side."""
    rapid, _ = thin(counts, fraction, np.random.default_rng([7, round(1000 * fraction)]))
    ours, theirs = (restorers[name](rapid, fraction) for name in (OURS, best))
    apart = (ours - rapid / fraction) / 2 + counts.mean()
    sheet = side_by_side([rapid / fraction, ours, theirs, apart.clip(0), counts])
    sheet.save(RESULTS / "bone_scan.png")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--pixel-mm", type=float, default=2.26, help="the scan's own, or a multiple")
    parser.add_argument("--cases", type=int, default=12, help="procedural ones, for the observer")
    parser.add_argument("--draws", type=int, default=5, help="ways to thin the scan")
    parser.add_argument("--at-once", type=int, default=1, help="taught side by side")
    options = parser.parse_args()
    counts = real_scan(options.pixel_mm)
    if counts is None:
        return
    cases = cohort(options.cases, TEST_SEED, options.pixel_mm, lesions=5)
    untaught = peers(cohort(4, TRAIN_SEED, options.pixel_mm), options.fractions)
    restorers = {name: [on_the_field(restore)] for name, restore in untaught.items()}
    restorers |= same_budget(options) | {OURS: [served()]}
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
    others = set(restorers) - {OURS, OURS_OF_IT, AS_SERVED}
    best = max(others, key=lambda name: _mean(rows, options, name, "psnr"))
    draw({name: seeds[0] for name, seeds in restorers.items()}, best, counts, min(options.fractions))
    command = f"python -m benchmarks.bone_scan --fractions {' '.join(f'{f:g}' for f in options.fractions)}"
    command += f" --pixel-mm {options.pixel_mm:g} --cases {options.cases} --draws {options.draws}"
    figures = {f"{name}, {fraction}": row for (fraction, name), row in rows.items()}
    note = NOTE.format(draws=options.draws, cases=options.cases, published=PUBLISHED, seeds=SEEDS)
    keep("bone_scan", command, figures, "\n\n".join([*(table(rows, f"{f:g}") for f in options.fractions), note]))


def table(rows: dict[tuple[str, str], Any], fraction: str) -> str:
    """Render the methods at one fraction, and what they do to procedural lesions."""
    head = ["Method", *(title for title, _ in REAL_COLUMNS.values()), "procedural lesions: recovery", "observer AUC"]
    head += [f"{OURS} above it: PSNR", "SSIM"]
    ours = rows[fraction, OURS]["real"]
    lines = [f"## {fraction} of the counts", "", f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for (part, name), row in rows.items():
        if part == fraction:
            cells = [cell([each[key] for each in row["real"]], digits) for key, (_, digits) in REAL_COLUMNS.items()]
            cells += [f"{row['cohort'][key]:.3f}" for key in ("recovery", "auc")]
            compared = name != OURS and len(ours) > 1
            same = ours * (len(row["real"]) // len(ours))
            cells += [gap(same, row["real"], key, REAL_COLUMNS[key][1]) if compared else "-" for key in KEYS]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _over_seeds(rows, fraction)])


def _over_seeds(rows: dict[tuple[str, str], Any], fraction: str) -> str:
    """Say what teaching and restoring are worth, means over the draws of a seed against those of the same seed."""
    seeds = {
        name: [
            {key: float(np.mean([row[key] for row in part])) for key in KEYS} for part in _parts(rows, fraction, name)
        ]
        for name in (PUBLISHED, ON_FIELD, OURS_OF_IT, AS_SERVED)
    }
    told = []
    for name in (PUBLISHED, ON_FIELD, OURS_OF_IT):
        gaps = (f"{key.upper()} {gap(seeds[AS_SERVED], seeds[name], key, REAL_COLUMNS[key][1])}" for key in KEYS)
        told.append(f"above {name} {', '.join(gaps)}")
    return f"{SEEDS} seeds, the same against the same, their range: what is {AS_SERVED} lies {'; '.join(told)}."


def _parts(rows: dict[tuple[str, str], Any], fraction: str, name: str) -> list[list[dict[str, float]]]:
    """Return the scores of every seed."""
    real = rows[fraction, name]["real"]
    draws = len(real) // SEEDS
    return [real[n * draws : (n + 1) * draws] for n in range(SEEDS)]


def _mean(rows: dict[tuple[str, str], Any], options: argparse.Namespace, name: str, key: str) -> float:
    found = [row[key] for fraction in options.fractions for row in rows[f"{fraction:g}", name]["real"]]
    return float(np.mean(found))


if __name__ == "__main__":
    main()
