"""Seconds until a server answers, and from the request of a training to its first step.

``python -m benchmarks.startup [--against FOLDER]``, where FOLDER is a checkout of another version; both are started in
turn.
"""

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from benchmarks.harness.paths import ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.server import prepare_app, running_server
from benchmarks.harness.tables import markdown_table, median_range
from benchmarks.harness.timing import ratios

TASK, CASES, SEED, ROUNDS = "topowmamba", 2, 0, 5
POLL_SECONDS, REST_SECONDS = 0.05, 20
"""`REST_SECONDS`: a server that has just answered still imports what its jobs use."""
UNFINISHED = ("SUBMITTED", "RUNNING")
READY, FIRST_STEP = "a server answers at /info/", "a training's first step after its request"
TARGETS = {READY: 6, FIRST_STEP: 5}
"""Seconds on two cores."""


def main() -> None:
    """Start every version in turn, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="checkout of another version")
    other = parser.parse_args().against
    versions = {"this version": ROOT, **({"the other version": other.resolve()} if other else {})}
    seconds: dict[str, dict[str, list[float]]] = {name: {READY: [], FIRST_STEP: []} for name in versions}
    for turn in range(ROUNDS + 1):
        for name, root in versions.items():
            found = measure(root)
            print(f"round {turn} of {ROUNDS}, {name}: {found}", flush=True)
            # The first round compiles the kernels and reads the files of the libraries from the disk.
            for what, value in found.items() if turn else ():
                seconds[name][what].append(value)
    report(seconds)


def measure(root: Path) -> dict[str, float]:
    """Return the seconds of one server of a version, from its start to the first step of its first training."""
    # The worker process ends shortly after its server and may write until then.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        app, studies = prepare_app(Path(folder), CASES, SEED, root)
        begin = time.monotonic()
        with running_server(app, studies, Path(folder) / "server.txt", root, POLL_SECONDS) as (url, _):
            ready = time.monotonic() - begin
            return {READY: round(ready, 2), FIRST_STEP: round(time_first_step(url), 2)}


def time_first_step(url: str) -> float:
    """Train after a rest, and return the seconds from the request to the end of the first step."""
    time.sleep(REST_SECONDS)
    begin = time.monotonic()
    requests.post(f"{url}/train/{TASK}", json={"max_epochs": 1}, timeout=30).raise_for_status()
    # A job reports its remaining time after its first step.
    while "eta_seconds" not in (job := requests.get(f"{url}/train/", timeout=30).json())["progress"]:
        assert job["status"] in UNFINISHED, job["reason"]
        time.sleep(POLL_SECONDS)
    taken = time.monotonic() - begin
    requests.delete(f"{url}/train/", timeout=30)
    return taken


def report(seconds: dict[str, dict[str, list[float]]]) -> None:
    """Write the result."""
    names = list(seconds)
    rows = []
    for what, goal in TARGETS.items():
        figures = [median_range(seconds[name][what], ".1f", " s") for name in names]
        if len(names) > 1:
            compared = ratios(*(seconds[name][what] for name in names))
            figures.append(f"{statistics.median(compared):.2f}x")
        rows.append([what, f"<= {goal} s", *figures])
    heads = ["until", "target, two cores", *names, *(["ratio"] if len(names) > 1 else [])]
    note = f"The airway app on {CASES} procedural CTs (seed {SEED}); median and range of {ROUNDS} starts, in turn."
    lines = markdown_table(heads, "lr", rows)
    write_result("startup", "python -m benchmarks.startup", {"seconds": seconds}, "\n".join([*lines, "", note]))
