"""Whether a strategy saves labels: every one of them beside random and foreground-aware random, at a real server.

``python -m benchmarks.active_learning [--cases 60] [--seeds 5]``; what was done is kept, in
``results/active_learning_runs.json`` as well, and not done again, be it on another machine: two hours on two cores.
"""

import argparse
import json
import shutil
from pathlib import Path

from tqdm import tqdm

from benchmarks.kept import put_down, take_up
from benchmarks.machine import keep
from lib.data.cases import find_cases
from lib.data.phantom import write_cohort
from lib.data.split import divided
from lib.simulation import curves
from lib.simulation.campaign import Plan
from lib.simulation.people import Oracle
from lib.simulation.rehearsal import known_strategies, rehearse

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "benchmarks" / "results" / "active_learning_runs.json"
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
image = { spacing_mm = [3.0, 3.0, 4.0], window_hu = [-1000, 400], roi = [64, 64], slice_offsets = [-1, 0, 1] }
scores = { samples = 4, by = "tta" }

[task.train]
recipe = "finetune"
batch_size = 16
learning_rate = 3e-3
warmup_steps = 10
ema_decay = 0.9
"""


def main() -> None:
    """Make the cohort, rehearse, keep the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cases", type=int, default=60)
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--at-once", type=int, default=2)
    given = asked.parse_args()
    folder = ROOT / "build" / "active_learning"
    cases, app = folder / f"cases_{given.cases}", folder / "app"
    if not (cases / "about" / "topology.json").is_file():
        write_cohort(cases, count=given.cases, seed=SEED, pixel_mm=PIXEL_MM, slice_mm=SLICE_MM, grid_mm=GRID_MM)
    app.mkdir(parents=True, exist_ok=True)
    (app / "app.toml").write_text(APP)
    shutil.copy(ROOT / "apps" / "airway" / "main.py", app)
    pool, test = divided(find_cases(cases), TEST)
    plan = Plan(app, "airway", pool, test, Oracle(), rounds=ROUNDS, batch=BATCH, options=OPTIONS)
    names = known_strategies(plan)
    with tqdm(desc="rounds") as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        take_up(RUNS, folder / "out")
        try:
            told = rehearse(plan, names, range(given.seeds), folder / "out", at_once=given.at_once, progress=progress)
        finally:
            put_down(RUNS, folder / "out", "plan.json", "runs/*.json")
    shutil.copy(folder / "out" / "curves.png", ROOT / "benchmarks" / "results" / "active_learning.png")
    runs = {path.stem: json.loads(path.read_text()) for path in sorted((folder / "out" / "runs").glob("*.json"))}
    note = (
        f"Procedural cases at {PIXEL_MM:g} x {PIXEL_MM:g} x {SLICE_MM:g} mm, seed {SEED}: "
        f"{len(pool)} to label, {len(test)} that only judge, the same for all.\n"
        f"{ROUNDS} rounds of {BATCH} labels, the first drawn by lot and shared by all strategies of a seed; the oracle "
        "labels; every training goes on from what is served.\n"
        "Every version is promoted, whatever the gate says of it. Intervals are of 95 %, over seeds.\n"
        "Minutes follow a model of effort (added path length), and are no measurement."
    )
    text = (folder / "out" / "table.md").read_text() + "\n" + note
    command = f"python -m benchmarks.active_learning --cases {given.cases} --seeds {given.seeds}"
    keep("active_learning", command, told | {"runs": runs, "reference": curves.REFERENCE}, text)


if __name__ == "__main__":
    main()
