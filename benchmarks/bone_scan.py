"""The served restorer on the one real bone scan, which nothing learned from, beside its peers.

``python -m benchmarks.bone_scan``: the scan is thinned, restored, and held against the counts that were left out. The
strengths of smoothing are chosen on procedural scans, as the observer that looks for lesions is taught by them. What
has to be taught gets the starter's network and steps, and is kept: a quarter of an hour each on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.machine import RESULTS, keep
from benchmarks.restoration import REAL_COLUMNS, asked, cell, gap, peers, taught, teach_all
from benchmarks.restoration_arms import ARMS, PLAIN, restorer
from benchmarks.scans import TEST_SEED, TRAIN_SEED, Restorer, cohort, real_scan, score, score_real, standard_reader
from lib.data.scintigraphy.picture import side_by_side
from lib.data.scintigraphy.thinning import thin
from lib.models.restoration import restore_counts
from lib.tasks.spec import load_app
from lib.tasks.weights import build_network, served_weights

APP = Path(__file__).resolve().parents[1] / "apps" / "scintigraphy"
OURS = "the starter"
TAUGHT = {PLAIN: "NAFNet on thinned scans", "noise2noise on split counts": "noise2noise on split counts"}
BUDGET = "--seeds 1 --train 30 --fractions 0.5 0.25 0.1 --steps 4700 --batch 4 --size 64 --model nafnet_small"
"""The starter's own, of its card, in the words of `benchmarks.restoration`."""
NOTE = (
    "Means over {draws} ways to thin the one view of the real scan (seeds of the thinning), with the SD over them: it"
    " tells of counting, not of patients. PSNR and SSIM against the complementary counts, whose own noise"
    " bounds them. Findings: of an observer that learned from {cases} procedural cases' lesions as each method shows"
    " them, set to find 80 % of those; confirmed is what the observer of standard scans finds in the whole scan."
    " Above it: the same draws against each other, with the interval of a bootstrap over draws."
    " What was taught beside the starter has its network, number of cases, steps, crops and fractions, and seed 0."
)


def served() -> Restorer:
    """Return the restorer that the app is served with."""
    task = load_app(APP).task("bone_scan")
    network = build_network(task, served_weights(APP, task).path).eval()
    return lambda counts, fraction: restore_counts(network, torch.from_numpy(counts), fraction).numpy()


def same_budget(options: argparse.Namespace) -> dict[str, Restorer]:
    """Return the peers that are taught; the starter learned from pairs of scans, they from one scan of each case."""
    rest = ["--pixel-mm", str(options.pixel_mm), "--at-once", str(options.at_once), "--teach-only"]
    lessons = asked([*BUDGET.split(), *rest, "--arms", *TAUGHT])
    teach_all(lessons)
    return {TAUGHT[name]: restorer(taught(name, 0, lessons), ARMS[name]) for name in TAUGHT}


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
    parser.add_argument("--at-once", type=int, default=1, help="peers taught side by side")
    options = parser.parse_args()
    counts = real_scan(options.pixel_mm)
    if counts is None:
        return
    cases = cohort(options.cases, TEST_SEED, options.pixel_mm, lesions=5)
    restorers = peers(cohort(4, TRAIN_SEED, options.pixel_mm), options.fractions)
    restorers |= same_budget(options) | {OURS: served()}
    standard, rows = standard_reader(cases), {}
    for fraction in options.fractions:
        for name, restore in tqdm(restorers.items(), f"{fraction:g} of the counts"):
            cohort_scores, reader = score(restore, cases, fraction)
            real = [score_real(restore, counts, fraction, reader, standard, draw=n) for n in range(options.draws)]
            rows[f"{fraction:g}", name] = {"real": real, "cohort": cohort_scores}
    best = max((name for name in restorers if name != OURS), key=lambda name: _mean(rows, options, name, "psnr"))
    draw(restorers, best, counts, min(options.fractions))
    command = f"python -m benchmarks.bone_scan --fractions {' '.join(f'{f:g}' for f in options.fractions)}"
    command += f" --pixel-mm {options.pixel_mm:g} --cases {options.cases} --draws {options.draws}"
    figures = {f"{name}, {fraction}": row for (fraction, name), row in rows.items()}
    note = NOTE.format(draws=options.draws, cases=options.cases)
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
            cells += [
                gap(ours, row["real"], key, REAL_COLUMNS[key][1]) if compared else "-" for key in ("psnr", "ssim")
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(rows: dict[tuple[str, str], Any], options: argparse.Namespace, name: str, key: str) -> float:
    found = [row[key] for fraction in options.fractions for row in rows[f"{fraction:g}", name]["real"]]
    return float(np.mean(found))


if __name__ == "__main__":
    main()
