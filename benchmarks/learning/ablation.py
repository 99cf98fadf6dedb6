"""Ablation of WMB and SCVSS on a procedural cohort: four arms with the same steps and patches, several seeds.

``python -m benchmarks.ablation --seeds 3 --steps 600``
"""

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.cohorts import cohort, held_out
from benchmarks.harness.paths import ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table, mean_sd
from benchmarks.learning.arms import build, judge, run_arm
from lib.data.pipeline import ImageSpec
from lib.evaluation.intervals import mean_interval
from lib.evaluation.report import UNION
from lib.learning.recipes.finetune import Finetune
from lib.tasks.spec import load_app

# Coarser than the grid of the app, so that twelve runs take an hour on a laptop; the airway is still a tree of tubes.
SPEC = ImageSpec(spacing_mm=(1.5, 1.5, 2.0), window=(-1000.0, 400.0), roi=(144, 144), slice_offsets=(-4, -2, 0, 2, 4))
ARMS = list(itertools.product((True, False), repeat=2))
BATCH = 4
COMPARED = ("dice", "cl_dice", "betti_0_error")


def scores_of(cases: dict[str, Any]) -> dict[str, float]:
    """Return the compared scores: mean Dice of the classes; clDice and beta-0 error of their union."""
    union = [case["classes"][UNION] for case in cases.values()]
    return {
        "dice": float(np.mean([case["mean"]["dice"] for case in cases.values()])),
        "cl_dice": float(np.mean([scores["cl_dice"] or 0.0 for scores in union])),
        "betti_0_error": float(np.mean([scores["betti_0_error"] for scores in union])),
    }


def arm_name(use_wmb: bool, use_scvss: bool) -> str:
    """Return the arm's name."""
    return f"WMB {'on' if use_wmb else 'off'}, SCVSS {'on' if use_scvss else 'off'}"


def run(seeds: int, steps: int) -> dict[str, list[dict[str, float]]]:
    """Return the scores of every arm, one row per seed."""
    labels = load_app(ROOT / "apps" / "airway").task("topowmamba").labels
    train_cases, judged = cohort("ablation", count=32, seed=100), held_out()
    rows: dict[str, list[dict[str, float]]] = {arm_name(*arm): [] for arm in ARMS}
    for seed, (use_wmb, use_scvss) in itertools.product(range(seeds), ARMS):
        network = build("topowmamba_tiny", SPEC, labels, seed, use_wmb=use_wmb, use_scvss=use_scvss)
        recipe = Finetune(
            max_epochs=1, patches_per_epoch=steps * BATCH, batch_size=BATCH, learning_rate=2e-3, seed=seed
        )
        with tempfile.TemporaryDirectory() as workdir:
            spent = run_arm(network, recipe, train_cases, SPEC, labels, Path(workdir))
        verdict = judge(network, judged, SPEC, labels)
        row = spent | scores_of(verdict["cases"]) | {"seed": seed}
        rows[arm_name(use_wmb, use_scvss)].append(row)
        print(arm_name(use_wmb, use_scvss), row, flush=True)
    return rows


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Render mean and standard deviation over seeds, and the paired difference to the arm without WMB and SCVSS."""
    base = rows[arm_name(False, False)]
    lines = []
    for name, seeds in rows.items():
        cells = [mean_sd([row[key] for row in seeds], 3) for key in COMPARED]
        gap = mean_interval([row["dice"] - other["dice"] for row, other in zip(seeds, base, strict=True)])
        against = f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" if name != arm_name(False, False) else "-"
        lines.append([name, f"{seeds[0]['parameters']:,}", *cells, against])
    heads = ["Arm", "Parameters", "Dice", "clDice", "b0 error", "Dice against neither"]
    return "\n".join(markdown_table(heads, "lr", lines))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    rows = run(options.seeds, options.steps)
    note = (
        f"\n{options.seeds} seeds, {options.steps} steps of {BATCH} patches, topowmamba_tiny, 32 procedural cases"
        " to train, 20 held-out cases to judge. Mean ± SD over seeds; the interval of the paired difference is"
        " over seeds (Student's t). An interval that contains 0 is a null result."
    )
    write_result(
        "ablation",
        f"python -m benchmarks.ablation --seeds {options.seeds} --steps {options.steps}",
        {"rows": rows},
        table(rows) + "\n" + note,
    )
