"""Liveness, readiness and metrics."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.server


def get(server: Any, path: str) -> requests.Response:
    return requests.get(f"{server.url}{path}", timeout=20)


def test_alive_and_ready(server: Any) -> None:
    assert get(server, "/health").json() == {"status": "alive"}
    assert get(server, "/ready").json() == {"status": "ready"}


def test_not_ready_lists_the_reasons(
    tmp_path: Path, launch_at: Callable, new_app: Callable, new_studies: Callable
) -> None:
    # A server of its own: the shared one may serve a version that another test has trained.
    server = launch_at(new_app(tmp_path / "app"), new_studies(tmp_path / "studies", 1), tmp_path)
    weights = server.app / "starter"
    hidden = weights.rename(weights.with_name("hidden"))
    answer = get(server, "/ready")
    hidden.rename(weights)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (503, "NOT_READY") and body["reasons"] == [
        "The model tubes has no weights."
    ]
    assert get(server, "/ready").status_code == 200, "no restart is needed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_disk_that_cannot_be_written_is_reported(server: Any) -> None:
    server.studies.chmod(0o555)
    try:
        reasons = get(server, "/ready").json()["reasons"]
    finally:
        server.studies.chmod(0o755)
    assert len(reasons) == 1 and "written to the disk of the studies" in reasons[0]


def test_metrics_of_the_server(server: Any) -> None:
    for _ in range(2):
        requests.post(f"{server.url}/infer/nothing", timeout=10)
    text = get(server, "/metrics").text
    for part in (
        'topolabel_requests_total{method="POST",route="/infer/{model}",status="404"}',
        'topolabel_refused_total{code="NO_SUCH_MODEL"}',
        'topolabel_waiting{lane="images"} 0.0',
        'topolabel_jobs{state="RUNNING"}',
        'topolabel_cache_bytes{cache="embeddings"}',
        "process_resident_memory_bytes",
    ):
        assert part in text, part
    assert "/infer/nothing" not in text
