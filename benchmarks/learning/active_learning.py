"""Labels saved by every strategy of active learning, compared with random selection, at a real server.

``python -m benchmarks.active_learning [--cases 60] [--seeds 5]``; completed runs are
stored in ``results/active_learning_runs.json`` and are not repeated, also on another machine. Two hours on two cores.
"""

import argparse
import json
import shutil

from benchmarks.harness.paths import BUILD, RESULTS, ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.runs import progress_bar, resumed_runs
from lib.data.cases import find_cases
from lib.data.phantom import write_cohort
from lib.data.split import split_pool_and_test
from lib.simulation import curves
from lib.simulation.campaign import Plan
from lib.simulation.people import Oracle
from lib.simulation.rehearsal import known_strategies, rehearse

RUNS = RESULTS / "active_learning_runs.json"
SEED, TEST = 70, 14
ROUNDS, BATCH = 4, 5
PIXEL_MM, SLICE_MM, GRID_MM = 3.0, 4.0, 2.5
OPTIONS = {"max_epochs": 3, "patches_per_epoch": 1024, "val_interval": 3}
APP = """
[app]
name = "rehearsal"
held_out_patients = 3

[[task]]
name = "airway"
kind = "segmentation"
model = "student_conv"
labels = ["nasal_cavity", "sinuses", "pharynx", "larynx", "trachea"]
image = { spacing_mm = [3.0, 3.0, 4.0], window = [-1000, 400], roi = [64, 64], slice_offsets = [-1, 0, 1] }
scores = { samples = 4, by = "tta" }

[task.train]
recipe = "finetune"
batch_size = 16
learning_rate = 3e-3
warmup_steps = 10
ema_decay = 0.9
"""


def main() -> None:
    """Write the cohort, run the rehearsals, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    folder = BUILD / "active_learning"
    cases, app, out = folder / f"cases_{options.cases}", folder / "app", folder / "out"
    if not (cases / "about" / "topology.json").is_file():
        write_cohort(cases, count=options.cases, seed=SEED, pixel_mm=PIXEL_MM, slice_mm=SLICE_MM, grid_mm=GRID_MM)
    app.mkdir(parents=True, exist_ok=True)
    (app / "app.toml").write_text(APP)
    shutil.copy(ROOT / "apps" / "airway" / "main.py", app)
    pool, test = split_pool_and_test(find_cases(cases), TEST)
    plan = Plan(app, "airway", pool, test, Oracle(), rounds=ROUNDS, batch=BATCH, options=OPTIONS)
    names = known_strategies(plan)
    with progress_bar("rounds") as progress, resumed_runs(RUNS, out, "plan.json", "runs/*.json"):
        findings = rehearse(plan, names, range(options.seeds), out, at_once=options.at_once, progress=progress)
    shutil.copy(out / "curves.png", RESULTS / "active_learning.png")
    runs = {path.stem: json.loads(path.read_text()) for path in sorted((out / "runs").glob("*.json"))}
    note = (
        f"Procedural cases at {PIXEL_MM:g} x {PIXEL_MM:g} x {SLICE_MM:g} mm, seed {SEED}: "
        f"{len(pool)} to label, {len(test)} held-out cases to judge, the same for all strategies.\n"
        f"{ROUNDS} rounds of {BATCH} labels; the first round is drawn at random, equal for all strategies of a seed; "
        "an oracle labels; every training starts from the served version.\n"
        "Every version is promoted, whatever the gate decides. Intervals are of 95 %, over seeds.\n"
        "Minutes are estimated from a model of effort (added path length), not measured."
    )
    text = (out / "table.md").read_text() + "\n" + note
    command = f"python -m benchmarks.active_learning --cases {options.cases} --seeds {options.seeds}"
    write_result("active_learning", command, findings | {"runs": runs, "reference": curves.REFERENCE}, text)
