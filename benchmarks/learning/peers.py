"""TopoWMamba, DynUNet and VM-UNet, trained with the same budget, and the threshold rule on 20 procedural cases.

``python -m benchmarks.peers --minutes 12``
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness.cohorts import cohort, held_out
from benchmarks.harness.paths import ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table
from benchmarks.learning.arms import build, judge, run_arm
from lib.data.cases import Case
from lib.data.pipeline import ImageSpec, read
from lib.evaluation.baselines.threshold import fill_rule
from lib.evaluation.intervals import mean_interval
from lib.evaluation.report import UNION, evaluate_case
from lib.learning.recipes.finetune import Finetune
from lib.models.weights import load_weights
from lib.tasks.spec import load_app

# Coarser than the grid of the app, so that every network sees the cohort several times in minutes on two CPU cores.
SPEC = ImageSpec(spacing_mm=(1.5, 1.5, 2.0), window=(-1000.0, 400.0), roi=(144, 144), slice_offsets=(-4, -2, 0, 2, 4))
APP = ROOT / "apps" / "airway"
MODELS = ("topowmamba_small", "dynunet_small", "vmunet_small")
STARTER = "starter (its own grid and longer budget)"


def threshold_scores(cases: list[Case], spec: ImageSpec) -> dict[str, Any]:
    """Return the scores of the fill rule on the grid of the preprocessing; the rule does not separate classes."""
    scores = {}
    for case in cases:
        reading = read(case.image, spec, case.label)
        hu, label = reading.intensities[0].numpy(), np.asarray(reading.label).reshape(reading.intensities.shape[1:])
        united = np.where(label == 255, 255, label > 0).astype(np.uint8)
        found = fill_rule(hu, spec.spacing_mm).astype(np.uint8)
        scores[case.id] = evaluate_case(found, united, spec.spacing_mm, {UNION: 1})
    return {"cases": scores}


def cell(values: list[float | None]) -> str:
    """Render a mean with its 95 % interval, without cases for which the score is undefined."""
    interval = mean_interval([float("nan") if value is None else value for value in values])
    if interval.mean != interval.mean:
        return "-"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def table(rows: dict[str, Any], labels: tuple[str, ...]) -> str:
    """Render one row per method: Dice of every class; Dice, clDice, tree length and beta-0 error of their union."""
    union = ("dice", "cl_dice", "tree_length_detected", "betti_0_error")
    heads = ["Method", "Parameters", "Steps", *labels, "airway", "clDice", "TD", "b0 error"]
    lines = []
    for name, row in rows.items():
        cases = row["cases"].values()
        cells = [cell([case["classes"].get(label, {}).get("dice") for case in cases]) for label in labels]
        cells += [cell([case["classes"][UNION][key] for case in cases]) for key in union]
        lines.append([name, str(row.get("parameters", "-")), str(row.get("steps", "-")), *cells])
    return "\n".join(markdown_table(heads, "lr", lines))


def run(models: tuple[str, ...], minutes: float, seed: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Train every model for `minutes` and judge it; also judge the starter and the threshold rule."""
    task = load_app(APP).task("topowmamba")
    train_cases, judged = cohort("peers", count=48, seed=200), held_out()
    rows: dict[str, Any] = {"threshold rule": threshold_scores(judged, SPEC)}
    starter = build(task.model, task.image, task.labels, seed)
    load_weights(starter, APP / "starter" / task.model / "weights.safetensors")
    rows[STARTER] = judge(starter, judged, task.image, task.labels)
    for model in models:
        network = build(model, SPEC, task.labels, seed)
        recipe = Finetune(max_epochs=10_000, patches_per_epoch=128, max_minutes=minutes, learning_rate=2e-3, seed=seed)
        with tempfile.TemporaryDirectory() as workdir:
            spent = run_arm(network, recipe, train_cases, SPEC, task.labels, Path(workdir))
        rows[model] = spent | judge(network, judged, SPEC, task.labels)
        print(table({model: rows[model]}, task.labels), flush=True)
    return rows, task.labels


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=12.0, help="training time of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, labels = run(MODELS, options.minutes, options.seed)
    command = (
        f"python -m benchmarks.peers --minutes {options.minutes:g} --seed {options.seed} --threads {options.threads}"
    )
    note = (
        f"\nEach network: {options.minutes:g} minutes on {options.threads} thread(s), one seed, the same 48"
        " procedural cases at 1.5 x 1.5 x 2 mm; judged on this grid on 20 held-out cases"
        " (the starter on its own grid, 0.9 x 0.9 x 1.5 mm). Mean with its 95 % interval (Student's t) over cases."
        " Procedural data: these figures say nothing about patients."
    )
    write_result("peers", command, {"rows": rows}, table(rows, labels) + "\n" + note)
