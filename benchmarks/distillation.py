"""Task-specific distillation beside its baselines, on procedural slices: the experiment that the README quotes.

``python -m benchmarks.distillation [--at-once 2]``; what was done is kept, in ``results/distillation_runs.json`` as
well, and not done again, be it on another machine.
"""

import argparse
import json
import shutil
from pathlib import Path

from tqdm import tqdm

from benchmarks.kept import put_down, take_up
from benchmarks.machine import keep
from lib.learning.experiment.plan import load_plan
from lib.learning.experiment.run import run

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "benchmarks" / "plans" / "procedural.toml"
RUNS = ROOT / "benchmarks" / "results" / "distillation_runs.json"


def main() -> None:
    """Run the experiment, keep its table and its pictures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--at-once", type=int, default=2)
    given = asked.parse_args()
    plan, out, results = load_plan(FILE), ROOT / "build" / "distillation", ROOT / "benchmarks" / "results"
    with tqdm(desc="runs") as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        take_up(RUNS, out)
        try:
            run(plan, out, at_once=given.at_once, progress=progress)
        finally:
            put_down(RUNS, out, "plan.json", "synthetic-*.json", "runs/*.json")
    shutil.copy(out / "curves.png", results / "distillation.png")
    # Pictures do not travel with the runs: the last of those that were made here.
    if pictures := sorted(out.glob("synthetic-*.png")):
        shutil.copy(pictures[-1], results / "synthetic.png")
    made = {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("synthetic-*.json"))}
    kept, all_made = (sum(each[key] for each in made.values()) for key in ("kept", "made"))
    devices = {json.loads(path.read_text())["device"] for path in (out / "runs").glob("*.json")}
    data, budget = plan.data, plan.budget
    note = (
        f"Procedural slices at {data.pixel_mm:g} x {data.pixel_mm:g} x {data.slice_mm:g} mm, cohort seed {data.seed}: "
        f"{data.count - data.test} patients to learn from, {data.test} that only judge.\n"
        f"Every arm begins alike and sees as many images: {budget.lesson} steps of {budget.batch} before the labels "
        f"and {budget.finetune} on them; scratch has both on them.\nThe teacher is {plan.teacher}, tuned on the same "
        f"labels for {budget.teacher} steps. Intervals are of 95 %, over {plan.seeds} seeds.\n"
        f"Taught on {', '.join(sorted(devices))}. "
        f"Of {all_made} made images {all_made - kept} were copies and left out."
    )
    findings = json.loads((out / "findings.json").read_text())
    command = f"python -m benchmarks.distillation --at-once {given.at_once}"
    figures = findings | {"synthetic": made, "plan": plan.as_dict()}
    keep("distillation", command, figures, f"{(out / 'table.md').read_text()}\n{note}")


if __name__ == "__main__":
    main()
