"""A server of its own for one rehearsal: a copy of an app, a folder of studies, a process that ends with this one."""

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
LEFT_BEHIND = ("model", "records", "logs", "bin", "starter")
"""What a copy of an app begins without: everything that it learned or remembers."""


def lay_out(folder: Path, app_dir: Path, images: Sequence[Path], *, starter: bool) -> None:
    """Make ``app`` and ``studies`` in a folder: the app as it was before its first label.

    Args:
        folder: Of the rehearsal.
        app_dir: The app that is copied.
        images: What there is to label.
        starter: Whether it begins with its starter weights, else with none.
    """
    left = [name for name in LEFT_BEHIND if not (starter and name == "starter")]
    shutil.copytree(app_dir, folder / "app", ignore=shutil.ignore_patterns(*left, "__pycache__"))
    (folder / "studies").mkdir()
    for image in images:
        shutil.copy(image, folder / "studies")


@contextmanager
def served(folder: Path, *, threads: int) -> Iterator[str]:
    """Serve what `lay_out` made, and end the server by its own handle; yield its address.

    Args:
        folder: Of the rehearsal; the server's log is ``server.txt`` there.
        threads: That it and its jobs compute with.
    Raises:
        RuntimeError: If it ends, or does not answer in time, with the end of its log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lib", "serve", str(folder / "app"), "--studies", str(folder / "studies")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MONAI_LABEL", "TOPOLABEL"))}
    environment = kept | {"PYTHONPATH": str(lib.REPOSITORY), "OMP_NUM_THREADS": str(threads)}
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
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise RuntimeError(f"the server does not answer; its log ends: {log.read_text()[-600:]}")
