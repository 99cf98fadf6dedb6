"""Start a server of the airway app on procedural studies, in folders of its own."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from benchmarks.harness.paths import ROOT
from lib.data.phantom import write_cohort

STOP_SECONDS = 60


def prepare_app(folder: Path, cases: int, seed: int, root: Path = ROOT) -> tuple[Path, Path]:
    """Copy the airway app of a checkout without its records, write studies, and return the folders of both."""
    app, studies = folder / "app", folder / "studies"
    shutil.copytree(root / "apps" / "airway", app, ignore=shutil.ignore_patterns("model", "logs", "bin", "records"))
    write_cohort(studies, count=cases, seed=seed)
    return app, studies


@contextmanager
def running_server(
    app: Path, studies: Path, log: Path, root: Path = ROOT, poll_seconds: float = 0.5
) -> Iterator[tuple[str, int]]:
    """Run a server; yield its address and process id once it answers.

    Args:
        app: Folder of the app.
        studies: Folder of the studies.
        log: File for the output of the server.
        root: Checkout whose version is served.
        poll_seconds: Time between two attempts to reach it.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "lib", "serve", str(app), "--studies", str(studies), "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=root, stdout=output, stderr=output)
        try:
            while not is_ready(url):
                time.sleep(poll_seconds)
            yield url, server.pid
        finally:
            server.terminate()
            server.wait(STOP_SECONDS)


def is_ready(url: str) -> bool:
    """Return whether a server answers at an address."""
    try:
        return requests.get(f"{url}/info/", timeout=5).ok
    except requests.RequestException:
        return False


def free_port() -> int:
    """Return a port that is free at the time of the call."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
