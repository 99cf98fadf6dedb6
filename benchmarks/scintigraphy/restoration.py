"""Restoration of rapid bone scans: parts of the cascade compared with smoothing and noise2noise, over several seeds.

``python -m benchmarks.restoration --seeds 3 --steps 2000``; completed runs are stored, with
their scores in ``results/restoration_runs.json``, and are not repeated, also on another machine. BM3D is not included,
because its package forbids commercial use. FID and LPIPS are not included, because they need pretrained networks that
no package here contains.
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

from benchmarks.harness.machine import describe_machine
from benchmarks.harness.paths import BUILD, RESULTS
from benchmarks.harness.results import write_result
from benchmarks.harness.runs import resumed_runs
from benchmarks.harness.tables import markdown_table, mean_sd
from benchmarks.scintigraphy.arms import ARMS, CONTROL, FULL, PLAIN, restorer, train_arm
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
from lib.data.files.atomic import replacing
from lib.data.scintigraphy.skeleton import ScanCase
from lib.data.scintigraphy.thinning import thin
from lib.evaluation.baselines.smoothing import Smoother, best_strength, gaussian, non_local_means
from lib.evaluation.intervals import paired_difference
from lib.models import RESTORERS
from lib.models.restoration.nafnet import NAFNet
from lib.models.weights import load_weights, save_weights

WORK, RUNS = BUILD / "restoration", RESULTS / "restoration_runs.json"
SCORES, WEIGHTS, MACHINE = "scores.json", "first.safetensors", "machine.json"
UNRELATED = ("seeds", "arms", "at_once", "device", "teach_only")
"""Options that do not change a run."""
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
    "Mean ± SD over seeds; the interval of the paired difference is over seeds (Student's t), and an interval that"
    " contains 0 is a null result. PSNR and SSIM are computed against the exact mean, with its 99.5th percentile as"
    " full scale. Deviance is that of counts that the restorer did not see; it is about 1 at the truth. No real scan is"
    " training data; the real scan is compared with its complementary counts, whose own noise bounds PSNR and SSIM."
    " Findings are those of an observer that is trained on the cohort's lesions in the images of each method, with the"
    " threshold that finds 80 % of them."
)
GREY_COUNTS = 0.6
"""Exponent of the grey values of the picture, so that ribs are visible next to a bladder."""


def peers(cases: list[ScanCase], fractions: list[float]) -> dict[str, Restorer]:
    """Return the methods without training; their strengths are chosen on the training scans."""
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
    """Return the scores of a restorer at every fraction, on the cohort and, if available, on the real scan."""
    scores: dict[str, Any] = {}
    other = standard_reader(cases)
    for fraction in fractions:
        scores[f"{fraction:g}"], reader = score(restore, cases, fraction)
        if real is not None:
            scores[f"{fraction:g}"]["real"] = score_real(restore, real, fraction, reader, other)
    return scores


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the scores of every arm, one entry per seed; methods without training have one entry."""
    with resumed_runs(RUNS, WORK, f"*/*/{SCORES}", f"*/*/{MACHINE}"):
        done = train_all(options)
    if options.teach_only:
        return {}
    untrained = peers(_scans(TRAIN_SEED, options.train, options.pixel_mm), options.fractions)
    test, real = _judges(options)
    rows = {name: [judge(restore, test, real, options.fractions)] for name, restore in untrained.items()}
    for name, scores in done:
        rows.setdefault(name, []).append(scores)
    draw(test[0], untrained, options)
    return rows


def train_all(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """Train every arm, once per seed; return arms and scores, empty scores with the option ``--teach-only``."""
    names: list[str] = options.arms
    units = list(itertools.product(range(options.seeds), names))
    threads = max(1, (os.cpu_count() or 1) // options.at_once)
    with ProcessPoolExecutor(
        options.at_once, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        done = tqdm(pool.map(partial(_run_unit, options), units), "arms and seeds", len(units))
        return [(name, scores) for (_, name), scores in zip(units, done, strict=True)]


@lru_cache
def _scans(seed: int, count: int, pixel_mm: float, **options: Any) -> list[ScanCase]:
    return cohort(count, seed, pixel_mm, **options)


def _judges(options: argparse.Namespace) -> tuple[list[ScanCase], Counts | None]:
    return _scans(TEST_SEED, options.test, options.pixel_mm, lesions=5), real_scan(options.pixel_mm)


def _run_unit(options: argparse.Namespace, unit: tuple[int, str]) -> dict[str, Any]:
    """Train and judge an arm with one seed, except for steps that are completed for the same options."""
    seed, name = unit
    folder = _folder(name, seed, options)
    if (folder / SCORES).exists():
        return json.loads((folder / SCORES).read_text())
    if not (folder / WEIGHTS).exists():
        train = _scans(TRAIN_SEED, options.train, options.pixel_mm)
        network = train_arm(ARMS[name], train, options, seed)
        with replacing(folder / MACHINE) as partial_file:
            partial_file.write_text(json.dumps(describe_machine()))
        with replacing(folder / WEIGHTS) as partial_file:
            save_weights(network, partial_file)
    if options.teach_only:
        return {}
    scores = judge(restorer(load_trained(name, seed, options), ARMS[name]), *_judges(options), options.fractions)
    with replacing(folder / SCORES) as partial_file:
        partial_file.write_text(json.dumps(scores))
    return scores


def load_trained(name: str, seed: int, options: argparse.Namespace, **parts: Any) -> NAFNet:
    """Return the trained network of an arm and a seed; ``parts`` are options of the network that change no weight."""
    network = RESTORERS[options.model](**parts)
    load_weights(network, _folder(name, seed, options) / WEIGHTS)
    return network.eval()


def _folder(name: str, seed: int, options: argparse.Namespace) -> Path:
    """Return the folder of a run, which depends on the arm, the seed, the options and the cohort."""
    settings = {key: value for key, value in vars(options).items() if key not in UNRELATED}
    settings["cohort"] = _cohort_hash(options.pixel_mm)
    words = "_".join(f"{key}-{value}" for key, value in sorted(settings.items())).replace(" ", "")
    return WORK / words / f"{list(ARMS).index(name):02d}-{seed}"


@lru_cache
def _cohort_hash(pixel_mm: float) -> str:
    """Return a checksum of the procedural cohort."""
    return f"{zlib.crc32(_scans(TRAIN_SEED, 1, pixel_mm)[0].counts.tobytes()):08x}"


def _devices(options: argparse.Namespace) -> set[str]:
    """Return the devices on which the arms were trained, which may differ from the device of the judging."""
    units = itertools.product(options.arms, range(options.seeds))
    return {json.loads((_folder(*unit, options) / MACHINE).read_text())["device"] for unit in units}


def draw(case: ScanCase, untrained: dict[str, Restorer], options: argparse.Namespace) -> None:
    """Write a picture: the truth, a standard scan, and the rapid scan with the fewest counts, restored by all methods.

    An arm is shown with the last seed if it was trained on this machine; weights are not stored with the scores.
    """
    fraction = min(options.fractions)
    rapid = case.scan(fraction, np.random.default_rng(0))
    tiles = [case.mean[0], case.counts[0], *(restore(rapid, fraction)[0] for restore in untrained.values())]
    for name in options.arms:
        if (_folder(name, options.seeds - 1, options) / WEIGHTS).exists():
            tiles.append(restorer(load_trained(name, options.seeds - 1, options), ARMS[name])(rapid, fraction)[0])
    grey = np.clip(np.concatenate(tiles, 1) / np.percentile(case.mean, 99.5), 0, 1) ** GREY_COUNTS
    Image.fromarray((255 - 255 * grey).astype(np.uint8)).save(RESULTS / "restoration.png")


def table(rows: dict[str, list[dict[str, Any]]], fraction: str, columns: dict[str, tuple[str, int]], real: bool) -> str:
    """Render mean and SD over seeds; the first column is also compared with the plain network, paired by seed."""
    first = next(iter(columns))
    head = ["Method", *(title for title, _ in columns.values()), f"{columns[first][0]}, against plain"]
    cells = []
    pick = {name: [s[fraction]["real"] if real else s[fraction] for s in seeds] for name, seeds in rows.items()}
    for name, seeds in pick.items():
        scores = [mean_sd([row[key] for row in seeds], digits) for key, (_, digits) in columns.items()]
        against = "-"
        if PLAIN in pick and name != PLAIN and len(seeds) == len(pick[PLAIN]) > 1:
            against = gap(seeds, pick[PLAIN], first, columns[first][1])
        cells.append([name, *scores, against])
    lines = markdown_table(head, "lr", cells)
    if FULL in pick and CONTROL in pick:
        gaps = (f"{title} {gap(pick[FULL], pick[CONTROL], key, digits)}" for key, (title, digits) in columns.items())
        lines += ["", f"{FULL}, its masks against random ones: {'; '.join(gaps)}."]
    return "\n".join(lines)


def gap(rows: list[dict[str, Any]], others: list[dict[str, Any]], key: str, digits: int) -> str:
    """Render the difference of a score, paired by seed, with its interval."""
    found = paired_difference([row[key] for row in rows], [row[key] for row in others])
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def report(rows: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> str:
    """Return the tables of every fraction."""
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
        f" {options.pixel_mm:g} mm, {options.model}, {options.train} procedural training cases,"
        f" trained on {', '.join(sorted(_devices(options)))}."
    )
    return "\n\n".join([*parts, f"{made} {NOTE}"])


def _flag(key: str, value: Any) -> str:
    return " ".join([f"--{key.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])])


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the options of the command line, or the arguments that another benchmark passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=0.0, help="limit for every arm and seed; 0 is no limit")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM")
    parser.add_argument("--train", type=int, default=32, help="number of training cases")
    parser.add_argument("--test", type=int, default=20, help="number of held-out cases")
    parser.add_argument("--pixel-mm", type=float, default=4.52)
    parser.add_argument("--model", default="nafnet_small", choices=list(RESTORERS))
    parser.add_argument("--norm", default="l2", help="norm of the fidelity loss, l1 or l2")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=64, help="side of a crop, in pixels")
    parser.add_argument(
        "--sam-size",
        type=int,
        default=56,
        help="side of LiteMedSAM's input, in pixels; a multiple of 56 fills its windows",
    )
    parser.add_argument("--side", type=int, default=3, help="number of box prompts along a crop's side")
    parser.add_argument("--at-once", type=int, default=1, help="number of parallel processes")
    parser.add_argument("--device", default="cpu", help="device to train on")
    parser.add_argument("--teach-only", action="store_true", help="train only; another run or machine judges")
    return parser.parse_args(arguments)


def main() -> None:
    """Run from the command line."""
    options = parse_options()
    rows = run(options)
    if options.teach_only:
        return
    named = {key: value for key, value in vars(options).items() if key not in ("arms", "teach_only")}
    command = " ".join(["python -m benchmarks.restoration", *(_flag(k, v) for k, v in named.items())])
    write_result("restoration", command, {"rows": rows}, report(rows, options))
