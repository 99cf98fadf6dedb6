"""Leases: one job at a time on a device, and none that outlives its holder."""

import os
import signal
import threading
from pathlib import Path

from lib.jobs.queue.lease import lease_file, leased
from tests.waiting import wait_for


def test_the_first_free_device_and_then_none(tmp_path: Path) -> None:
    devices, order = ("cpu",), list[str]()
    waited = list[str]()

    def second() -> None:
        with leased(devices, tmp_path, waits=waited.append) as device:
            order.append(f"second {device}")

    with leased(devices, tmp_path) as device:
        thread = threading.Thread(target=second)
        thread.start()
        wait_for(lambda: waited)
        order.append(f"first {device}")
    thread.join(10)
    assert order == ["first cpu", "second cpu"] and waited == ["waits for cpu"]


def test_another_device_is_taken_where_the_first_is_not_free(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    with leased(("cuda:0", "cuda:1"), tmp_path) as one, leased(("cuda:0", "cuda:1"), tmp_path / "other") as two:
        assert (one, two) == ("cuda:0", "cuda:1"), "a GPU is the machine's, whichever app asks"


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with leased(("cpu",), tmp_path):
            (tmp_path / "held").touch()
            signal.pause()
    wait_for((tmp_path / "held").exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with leased(("cpu",), tmp_path, waits=lambda text: pytest_fail(text)):
        assert lease_file("cpu", tmp_path).exists()


def pytest_fail(text: str) -> None:
    raise AssertionError(text)
