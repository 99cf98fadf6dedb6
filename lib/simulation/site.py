"""Set up and run the server of one rehearsal: a copy of an app, a folder of studies, and a server process."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

import lib

START_SECONDS = 300
END_SECONDS = 60
NOT_COPIED = ("model", "records", "logs", "bin", "starter")
"""Parts of an app that a copy does not get: weights, records and logs."""


def create_site(folder: Path, app_dir: Path, images: Sequence[Path], *, starter: bool) -> None:
    """Create ``app`` and ``studies`` in a folder; the app has no labels and no trained versions.

    Args:
        folder: Folder of the rehearsal.
        app_dir: App to copy.
        images: Images to label, which are copied to ``studies``.
        starter: Whether the app starts with its starter weights; otherwise without weights.
    """
    excluded = [name for name in NOT_COPIED if not (starter and name == "starter")]
    shutil.copytree(app_dir, folder / "app", ignore=shutil.ignore_patterns(*excluded, "__pycache__"))
    (folder / "studies").mkdir()
    for image in images:
        shutil.copy(image, folder / "studies")


@contextmanager
def serve(folder: Path, *, threads: int) -> Iterator[str]:
    """Run a server for the folder of `create_site`, yield its address, and stop it at the end.

    Args:
        folder: Folder of the rehearsal; the server writes its log to ``server.txt`` there.
        threads: Threads of the server and its jobs.
    Raises:
        RuntimeError: If the server stops or does not answer within `START_SECONDS`, with the end of its log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lib", "serve", str(folder / "app"), "--studies", str(folder / "studies")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MONAI_LABEL", "TOPOLABEL"))}
    environment = inherited | {"PYTHONPATH": str(lib.REPOSITORY), "OMP_NUM_THREADS": str(threads)}
    log = folder / "server.txt"
    with log.open("a") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--parent", str(os.getpid())],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise RuntimeError(f"the server of the rehearsal does not answer; its log {log} ends: {log.read_text()[-600:]}")
