"""How long an annotator waits for a segmentation while the server trains, beside while it does not.

``python -m benchmarks.busy``
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from benchmarks.machine import keep
from lib.data.phantom import write_cohort

ROOT = Path(__file__).resolve().parents[1]
TASK, CASES, SEED, ROUNDS = "topowmamba", 3, 0, 12
GOING = ("SUBMITTED", "RUNNING")


def main() -> None:
    """Ask for one study again and again: idle, training, idle."""
    # The worker ends a moment after its server, and may still write then.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        app, studies = Path(folder) / "app", Path(folder) / "studies"
        shutil.copytree(ROOT / "apps" / "airway", app, ignore=shutil.ignore_patterns("model", "logs", "bin", "records"))
        write_cohort(studies, count=CASES, seed=SEED)
        port = free_port()
        command = [sys.executable, "-m", "lib", "serve", str(app), "--studies", str(studies), "--port", str(port)]
        log = (Path(folder) / "server.txt").open("w")
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            seconds = measured(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait(30)
    report(seconds)


def measured(url: str) -> dict[str, list[float]]:
    """Return the seconds of each answer, by what else the server did."""
    while not answers(f"{url}/info/"):
        time.sleep(0.5)
    ask(url)
    seconds = {"idle": [ask(url) for _ in range(ROUNDS // 2)]}
    requests.post(f"{url}/train/{TASK}", json={"max_epochs": 1000}, timeout=30).raise_for_status()
    # A job tells how long yet once it has made a step.
    while "eta_seconds" not in (told := requests.get(f"{url}/train/", timeout=30).json())["progress"]:
        assert told["status"] in GOING, told["reason"]
        time.sleep(0.5)
    seconds["training"] = [ask(url) for _ in range(ROUNDS)]
    assert requests.get(f"{url}/train/?check_if_running=true", timeout=30).ok, "it trained all the while"
    requests.delete(f"{url}/train/", timeout=30)
    while requests.get(f"{url}/train/?check_if_running=true", timeout=30).ok:
        time.sleep(0.5)
    time.sleep(5)
    seconds["idle"] += [ask(url) for _ in range(ROUNDS // 2)]
    return seconds


def ask(url: str) -> float:
    """Return the seconds until a study is segmented."""
    began = time.perf_counter()
    requests.post(f"{url}/infer/{TASK}?image=phantom_0000&output=image", timeout=300).raise_for_status()
    return time.perf_counter() - began


def answers(url: str) -> bool:
    """Say whether somebody answers there."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def report(seconds: dict[str, list[float]]) -> None:
    """Keep the table."""

    def facts(values: list[float]) -> tuple[float, float, float]:
        ordered = sorted(values)
        return statistics.median(ordered), statistics.quantiles(ordered, n=20, method="inclusive")[-1], ordered[-1]

    idle, training = facts(seconds["idle"]), facts(seconds["training"])
    rows = ["| the server | answers | median, s | p95, s | slowest, s |", "|---|---:|---:|---:|---:|"]
    for name, values, (median, p95, most) in (
        ("idle", seconds["idle"], idle),
        ("training", seconds["training"], training),
    ):
        rows.append(f"| {name} | {len(values)} | {median:.2f} | {p95:.2f} | {most:.2f} |")
    ratios = " | ".join(f"{busy / calm:.2f}x" for busy, calm in zip(training, idle, strict=True))
    rows.append(f"| training over idle | | {ratios} |")
    note = f"The starter network on a procedural CT (seed {SEED}), over HTTP; training on {CASES} such. "
    note += f"Load average of the last 15 minutes, other programs included: {os.getloadavg()[2]:.1f}."
    keep("busy", "python -m benchmarks.busy", {"seconds": seconds}, "\n".join([*rows, "", note]))


if __name__ == "__main__":
    main()
