"""Waiting time of an annotator for a segmentation while the server trains, compared with an idle server.

``python -m benchmarks.busy``
"""

import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from benchmarks.harness.results import write_result
from benchmarks.harness.server import prepare_app, running_server
from benchmarks.harness.tables import markdown_table
from benchmarks.harness.timing import time_call

TASK, CASES, SEED, ROUNDS = "topowmamba", 3, 0, 12
UNFINISHED = ("SUBMITTED", "RUNNING")


def main() -> None:
    """Segment one study repeatedly: idle, during a training, idle."""
    # The worker process ends shortly after its server and may write until then.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        app, studies = prepare_app(Path(folder), CASES, SEED)
        with running_server(app, studies, Path(folder) / "server.txt") as (url, _):
            seconds = measure(url)
    report(seconds)


def measure(url: str) -> dict[str, list[float]]:
    """Return the seconds of every segmentation, by the state of the server."""

    def segment() -> None:
        requests.post(f"{url}/infer/{TASK}?image=phantom_0000&output=image", timeout=300).raise_for_status()

    segment()
    seconds = {"idle": [time_call(segment) for _ in range(ROUNDS // 2)]}
    requests.post(f"{url}/train/{TASK}", json={"max_epochs": 1000}, timeout=30).raise_for_status()
    # A job reports its remaining time after its first step.
    while "eta_seconds" not in (job := requests.get(f"{url}/train/", timeout=30).json())["progress"]:
        assert job["status"] in UNFINISHED, job["reason"]
        time.sleep(0.5)
    seconds["training"] = [time_call(segment) for _ in range(ROUNDS)]
    assert requests.get(f"{url}/train/?check_if_running=true", timeout=30).ok, "the training must not end before this"
    requests.delete(f"{url}/train/", timeout=30)
    while requests.get(f"{url}/train/?check_if_running=true", timeout=30).ok:
        time.sleep(0.5)
    time.sleep(5)
    seconds["idle"] += [time_call(segment) for _ in range(ROUNDS // 2)]
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    """Write the result."""

    def facts(values: list[float]) -> tuple[float, float, float]:
        ordered = sorted(values)
        return statistics.median(ordered), statistics.quantiles(ordered, n=20, method="inclusive")[-1], ordered[-1]

    summary = {state: facts(seconds[state]) for state in ("idle", "training")}
    rows = [
        [state, str(len(seconds[state])), *(f"{value:.2f}" for value in values)] for state, values in summary.items()
    ]
    ratios = [f"{busy / idle:.2f}x" for busy, idle in zip(summary["training"], summary["idle"], strict=True)]
    rows.append(["training over idle", "", *ratios])
    lines = markdown_table(["the server", "answers", "median, s", "p95, s", "slowest, s"], "lr", rows)
    note = f"The starter network on a procedural CT (seed {SEED}), over HTTP; the training uses {CASES} such cases. "
    note += f"Load average of the last 15 minutes, other programs included: {os.getloadavg()[2]:.1f}."
    write_result("busy", "python -m benchmarks.busy", {"seconds": seconds}, "\n".join([*lines, "", note]))
