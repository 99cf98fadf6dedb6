"""The log and the GPUs on the real server."""

import shutil
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.server


@pytest.mark.parametrize("lines", [1, 300, 0, -5, 10**30])
def test_the_log_has_the_requested_number_of_lines(server: Any, lines: int) -> None:
    answer = requests.get(f"{server.url}/logs/?text=true&lines={lines}", timeout=10)
    assert answer.ok and answer.text.startswith("["), answer.text[:200]


def test_the_page_may_load_its_scripts(server: Any) -> None:
    answer = requests.get(f"{server.url}/logs/", timeout=10)
    assert "<script" in answer.text and "cdnjs.cloudflare.com" in answer.headers["content-security-policy"]


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU's tools")
def test_a_machine_without_gpus_is_reported(server: Any) -> None:
    answer = requests.get(f"{server.url}/logs/gpu", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_GPU")


def test_a_request_is_found_in_the_log_by_its_id(server: Any) -> None:
    requests.post(f"{server.url}/infer/nothing", headers={"X-Request-ID": "find-me-000001"}, timeout=10)
    text = requests.get(f"{server.url}/logs/?text=true", timeout=10).text
    assert "[find-me-000001] (lib.server.guard.request_tracking" in text and "404 NO_SUCH_MODEL" in text
