"""`make ohif`: an Orthanc with the studies and a server; both end together, however they are ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from archive import INSTALL, installed

from tests.server.conftest import ROOT, free_port

pytestmark = [pytest.mark.server, pytest.mark.skipif(not installed(), reason=f"Orthanc is not here: {INSTALL}")]


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGINT])
def test_server_and_archive_start_and_end_together(
    tmp_path: Path, new_app: Callable, new_studies: Callable, wait: Callable, word: int
) -> None:
    app, studies = new_app(tmp_path / "app"), new_studies(tmp_path / "studies", 1)
    port, archive_port = free_port(), free_port()
    script = [sys.executable, str(ROOT / "sample-data" / "ohif.py"), "--app", str(app), "--studies", str(studies)]
    script += ["--folder", str(tmp_path / "orthanc"), "--port", str(port), "--archive-port", str(archive_port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONAI_LABEL")}
    environment["PYTHONPATH"] = str(ROOT)
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(script, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait(lambda: answers(f"http://127.0.0.1:{port}/info/"), 120, "the server")
        status = requests.get(f"http://127.0.0.1:{port}/datastore/", timeout=30).json()
        assert status["total"] == 1 and answers(f"http://127.0.0.1:{archive_port}/system")
        wait(lambda: "/ohif/monai-label?StudyInstanceUIDs=" in (tmp_path / "output.txt").read_text(), 60, "the address")
        process.send_signal(word)
        process.wait(60)
        wait(lambda: not answers(f"http://127.0.0.1:{archive_port}/system"), 30, "Orthanc to end")
    finally:
        process.kill()
        process.wait()
