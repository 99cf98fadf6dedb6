"""Task-specific distillation compared with its baselines on procedural slices.

``python -m benchmarks.distillation [--at-once 2]``; completed runs are stored in
``results/distillation_runs.json`` and are not repeated, also on another machine.
"""

import argparse
import json
import shutil

from benchmarks.harness.paths import BUILD, RESULTS, ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.runs import progress_bar, resumed_runs
from lib.learning.experiment.plan import load_plan
from lib.learning.experiment.run import run

PLAN = ROOT / "benchmarks" / "plans" / "procedural.toml"
RUNS = RESULTS / "distillation_runs.json"


def main() -> None:
    """Run the experiment, and write its result and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    plan, out = load_plan(PLAN), BUILD / "distillation"
    run_files = resumed_runs(RUNS, out, "plan.json", "synthetic-*.json", "runs/*.json")
    with progress_bar("runs") as progress, run_files:
        run(plan, out, at_once=options.at_once, progress=progress)
    shutil.copy(out / "curves.png", RESULTS / "distillation.png")
    # Pictures are not stored with the runs; this is the last one that was made on this machine.
    if pictures := sorted(out.glob("synthetic-*.png")):
        shutil.copy(pictures[-1], RESULTS / "synthetic.png")
    made = {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("synthetic-*.json"))}
    kept, total = (sum(images[key] for images in made.values()) for key in ("kept", "made"))
    devices = {json.loads(path.read_text())["device"] for path in (out / "runs").glob("*.json")}
    data, budget = plan.data, plan.budget
    note = (
        f"Procedural slices at {data.pixel_mm:g} x {data.pixel_mm:g} x {data.slice_mm:g} mm, cohort seed {data.seed}: "
        f"{data.count - data.test} patients to train, {data.test} held-out patients to judge.\n"
        f"All arms start from the same weights and see the same number of images: {budget.lesson} steps of batch "
        f"{budget.batch} without labels and {budget.finetune} with labels; scratch uses labels in both.\n"
        f"The teacher is {plan.teacher}, tuned on the same "
        f"labels for {budget.teacher} steps. Intervals are of 95 %, over {plan.seeds} seeds.\n"
        f"Trained on {', '.join(sorted(devices))}. "
        f"Of {total} synthetic images {total - kept} were copies of training images and were excluded."
    )
    findings = json.loads((out / "findings.json").read_text())
    command = f"python -m benchmarks.distillation --at-once {options.at_once}"
    figures = findings | {"synthetic": made, "plan": plan.as_dict()}
    write_result("distillation", command, figures, f"{(out / 'table.md').read_text()}\n{note}")
