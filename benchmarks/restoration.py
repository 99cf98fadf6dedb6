"""Restoration of rapid bone scans: what the cascade's parts add, beside smoothing and noise2noise, over several seeds.

``python -m benchmarks.restoration --seeds 3 --steps 2000``; what is done is kept, its scores in
``results/restoration_runs.json`` as well, and not done again, be it on another machine. BM3D's package is not for
commercial use and is left out; FID and LPIPS want networks that were taught on other pictures, which no package here
carries, and are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from benchmarks.kept import put_down, take_up
from benchmarks.machine import RESULTS, keep, machine
from benchmarks.restoration_arms import ARMS, CONTROL, FULL, PLAIN, restorer, teach
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
from lib.data.files.atomic import replacing
from lib.data.scintigraphy.skeleton import ScanCase
from lib.data.scintigraphy.thinning import thin
from lib.evaluation.baselines.smoothing import Smoother, best_strength, gaussian, non_local_means
from lib.evaluation.bootstrap import paired_difference
from lib.models import RESTORERS
from lib.models.restoration.nafnet import NAFNet
from lib.models.weights import load_weights, save_weights

WORK, RUNS = Path(__file__).resolve().parents[1] / "build" / "restoration", RESULTS / "restoration_runs.json"
SCORES, WEIGHTS, MACHINE = "scores.json", "first.safetensors", "machine.json"
HOW = ("seeds", "arms", "at_once", "device", "teach_only")
"""Options that change nothing of a run."""
SMOOTHERS: dict[str, tuple[Smoother, tuple[float, ...]]] = {
    "Gaussian": (gaussian, (0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.6)),
    "non-local means": (non_local_means, (0.4, 0.6, 0.8, 1.0, 1.3)),
}
COLUMNS = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 3),
    "psnr_standard": ("PSNR to another standard scan", 2),
    "deviance": ("deviance of unseen counts", 4),
    "count_bias": ("count bias", 4),
    "count_bias_air": ("beside the body", 3),
    "recovery": ("lesion recovery", 3),
    "cnr": ("lesion CNR", 2),
    "auc": ("observer AUC", 3),
}
REAL_COLUMNS = {
    "psnr": ("PSNR to unseen counts, dB", 3),
    "ssim": ("SSIM", 4),
    "deviance": ("deviance", 4),
    "count_bias": ("count bias", 4),
    "invented": ("findings not confirmed", 0),
}
NOTE = (
    "Mean ± SD over seeds; the interval of the paired difference is a bootstrap over seeds, and one that holds 0 is a"
    " null result. PSNR and SSIM against the exact mean, full scale its 99.5th percentile. Deviance: of counts that the"
    " restorer did not see, about 1 at the truth. No real scan was learned from; what it is held against are the counts"
    " that were left out, whose own noise bounds PSNR and SSIM. Findings: of an observer that learned from the cohort's"
    " lesions as each method shows them, set to find 80 % of those."
)
GREY_COUNTS = 0.6
"""Exponent of the picture's grey values, so that ribs show beside a bladder."""


def peers(cases: list[ScanCase], fractions: list[float]) -> dict[str, Restorer]:
    """Return what takes no teaching; strengths are chosen on the scans that networks learn from."""
    found: dict[str, Restorer] = {"as recorded": lambda counts, fraction: counts / fraction}
    for name, (smoother, strengths) in SMOOTHERS.items():
        chosen = {}
        for fraction in fractions:
            scans = [thin(case.counts, fraction, np.random.default_rng(case.seed)) for case in cases[:4]]
            chosen[fraction] = best_strength(smoother, scans, fraction, strengths)
        found[name] = partial(_smoothed, smoother, chosen)
    return found


def _smoothed(smoother: Smoother, chosen: dict[float, float], counts: Counts, fraction: float) -> Counts:
    return smoother(counts, fraction, chosen[fraction])


def judge(restore: Restorer, cases: list[ScanCase], real: Counts | None, fractions: list[float]) -> dict[str, Any]:
    """Return the scores of a restorer at every fraction, on the cohort and on the real scan where there is one."""
    scores: dict[str, Any] = {}
    other = standard_reader(cases)
    for fraction in fractions:
        scores[f"{fraction:g}"], reader = score(restore, cases, fraction)
        if real is not None:
            scores[f"{fraction:g}"]["real"] = score_real(restore, real, fraction, reader, other)
    return scores


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the scores of every arm, one entry a seed; what takes no teaching has one."""
    take_up(RUNS, WORK)
    try:
        done = teach_all(options)
    finally:
        put_down(RUNS, WORK, f"*/*/{SCORES}", f"*/*/{MACHINE}")
    if options.teach_only:
        return {}
    untaught = peers(_scans(TRAIN_SEED, options.train, options.pixel_mm), options.fractions)
    test, real = _judges(options)
    rows = {name: [judge(restore, test, real, options.fractions)] for name, restore in untaught.items()}
    for name, scores in done:
        rows.setdefault(name, []).append(scores)
    draw(test[0], untaught, options)
    return rows


def teach_all(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """Teach every arm, once for each seed; return arms and scores, empty where another run is to judge them."""
    names: list[str] = options.arms
    units = list(itertools.product(range(options.seeds), names))
    threads = max(1, (os.cpu_count() or 1) // options.at_once)
    with ProcessPoolExecutor(
        options.at_once, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        done = tqdm(pool.map(partial(_once, options), units), "arms and seeds", len(units))
        return [(name, scores) for (_, name), scores in zip(units, done, strict=True)]


@lru_cache
def _scans(seed: int, count: int, pixel_mm: float, **options: Any) -> list[ScanCase]:
    return cohort(count, seed, pixel_mm, **options)


def _judges(options: argparse.Namespace) -> tuple[list[ScanCase], Counts | None]:
    return _scans(TEST_SEED, options.test, options.pixel_mm, lesions=5), real_scan(options.pixel_mm)


def _once(options: argparse.Namespace, unit: tuple[int, str]) -> dict[str, Any]:
    """Teach and judge an arm of one seed, each only if the same options have not yet done so."""
    seed, name = unit
    folder = _folder(name, seed, options)
    if (folder / SCORES).exists():
        return json.loads((folder / SCORES).read_text())
    if not (folder / WEIGHTS).exists():
        train = _scans(TRAIN_SEED, options.train, options.pixel_mm)
        network = teach(ARMS[name], train, options, seed)
        with replacing(folder / MACHINE) as partial_file:
            partial_file.write_text(json.dumps(machine()))
        with replacing(folder / WEIGHTS) as partial_file:
            save_weights(network, partial_file)
    if options.teach_only:
        return {}
    scores = judge(restorer(taught(name, seed, options), ARMS[name]), *_judges(options), options.fractions)
    with replacing(folder / SCORES) as partial_file:
        partial_file.write_text(json.dumps(scores))
    return scores


def taught(name: str, seed: int, options: argparse.Namespace, **parts: Any) -> NAFNet:
    """Return the network that an arm of a seed has left, built with other options that no parameter depends on."""
    network = RESTORERS[options.model](**parts)
    load_weights(network, _folder(name, seed, options) / WEIGHTS)
    return network.eval()


def _folder(name: str, seed: int, options: argparse.Namespace) -> Path:
    """Return where an arm's run of one seed is kept: other options or other cases, other folders."""
    told = {key: value for key, value in vars(options).items() if key not in HOW}
    told["cohort"] = _print_of(options.pixel_mm)
    words = "_".join(f"{key}-{value}" for key, value in sorted(told.items())).replace(" ", "")
    return WORK / words / f"{list(ARMS).index(name):02d}-{seed}"


@lru_cache
def _print_of(pixel_mm: float) -> str:
    """Return what tells one procedural cohort from another."""
    return f"{zlib.crc32(_scans(TRAIN_SEED, 1, pixel_mm)[0].counts.tobytes()):08x}"


def _devices(options: argparse.Namespace) -> set[str]:
    """Return what the arms were taught on, which need not be where they are judged."""
    units = itertools.product(options.arms, range(options.seeds))
    return {json.loads((_folder(*unit, options) / MACHINE).read_text())["device"] for unit in units}


def draw(case: ScanCase, untaught: dict[str, Restorer], options: argparse.Namespace) -> None:
    """Write a picture: the truth, a standard scan, and the rarest rapid scan as everybody restores it.

    An arm is shown as it was taught here with the last seed; weights do not travel with the scores.
    """
    fraction = min(options.fractions)
    rapid = case.scan(fraction, np.random.default_rng(0))
    tiles = [case.mean[0], case.counts[0], *(restore(rapid, fraction)[0] for restore in untaught.values())]
    for name in options.arms:
        if (_folder(name, options.seeds - 1, options) / WEIGHTS).exists():
            tiles.append(restorer(taught(name, options.seeds - 1, options), ARMS[name])(rapid, fraction)[0])
    grey = np.clip(np.concatenate(tiles, 1) / np.percentile(case.mean, 99.5), 0, 1) ** GREY_COUNTS
    Image.fromarray((255 - 255 * grey).astype(np.uint8)).save(RESULTS / "restoration.png")


def table(rows: dict[str, list[dict[str, Any]]], fraction: str, columns: dict[str, tuple[str, int]], real: bool) -> str:
    """Render mean and spread over seeds; PSNR, or the deviance of the real scan, paired against the plain network."""
    first = next(iter(columns))
    head = ["Method", *(title for title, _ in columns.values()), f"{columns[first][0]}, against plain"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(columns) + 1)}"]
    pick = {name: [s[fraction]["real"] if real else s[fraction] for s in seeds] for name, seeds in rows.items()}
    for name, seeds in pick.items():
        cells = [cell([row[key] for row in seeds], digits) for key, (_, digits) in columns.items()]
        against = "-"
        if PLAIN in pick and name != PLAIN and len(seeds) == len(pick[PLAIN]) > 1:
            against = gap(seeds, pick[PLAIN], first, columns[first][1])
        lines.append(f"| {name} | {' | '.join(cells)} | {against} |")
    if FULL in pick and CONTROL in pick:
        worth = (f"{title} {gap(pick[FULL], pick[CONTROL], key, digits)}" for key, (title, digits) in columns.items())
        lines += ["", f"{FULL}, its masks against random ones: {'; '.join(worth)}."]
    return "\n".join(lines)


def gap(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], key: str, digits: int) -> str:
    """Render the difference of a score, the same seeds against each other, with its interval."""
    found = paired_difference([row[key] for row in ours], [row[key] for row in theirs], seed=0)
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def cell(values: list[float], digits: int) -> str:
    """Render a mean with its spread, where there is one."""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def report(rows: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Return both tables of every fraction."""
    parts = []
    for fraction in (f"{value:g}" for value in options.fractions):
        parts += [
            f"## {fraction} of the counts: {options.test} procedural cases",
            table(rows, fraction, COLUMNS, False),
        ]
        if "real" in next(iter(rows.values()))[0][fraction]:
            parts += ["The one real scan, thinned:", table(rows, fraction, REAL_COLUMNS, True)]
    made = (
        f"{options.seeds} seeds, {options.steps} steps of {options.batch} crops of {options.size} pixels of"
        f" {options.pixel_mm:g} mm, {options.model}, {options.train} procedural cases to learn from,"
        f" taught on {', '.join(sorted(_devices(options)))}."
    )
    return "\n\n".join([*parts, f"{made} {NOTE}"])


def _flag(key: str, value: Any) -> str:
    return " ".join([f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])])


def asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line, or another benchmark in its place, asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=0.0, help="at most, for each arm and seed; 0 is no limit")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM")
    parser.add_argument("--train", type=int, default=32, help="cases to learn from")
    parser.add_argument("--test", type=int, default=20, help="cases to judge on")
    parser.add_argument("--pixel-mm", type=float, default=4.52)
    parser.add_argument("--model", default="nafnet_small", choices=list(RESTORERS))
    parser.add_argument("--norm", default="l2", help="of the fidelity, l1 or l2")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=64, help="pixels of a crop's side")
    parser.add_argument("--sam-size", type=int, default=56, help="side of what LiteMedSAM sees; 56s fill its windows")
    parser.add_argument("--side", type=int, default=3, help="boxes along a crop's side that masks are asked of")
    parser.add_argument("--at-once", type=int, default=1, help="processes side by side")
    parser.add_argument("--device", default="cpu", help="to teach on")
    parser.add_argument("--teach-only", action="store_true", help="leave the judging to another run, or machine")
    return parser.parse_args(arguments)


def main() -> None:
    """Run from the command line."""
    options = asked()
    rows = run(options)
    if options.teach_only:
        return
    told = {key: value for key, value in vars(options).items() if key not in ("arms", "teach_only")}
    command = " ".join(["python -m benchmarks.restoration", *(_flag(k, v) for k, v in told.items())])
    keep("restoration", command, {"rows": rows}, report(rows, options))


if __name__ == "__main__":
    main()
