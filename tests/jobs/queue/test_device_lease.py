"""Leases of devices: one job at a time on a device, and no lease that outlives its process."""

import os
import signal
import threading
from pathlib import Path

from lib.jobs.queue.device_lease import lease_device, lease_file
from tests.waiting import wait_for


def test_a_second_job_waits_for_the_device(tmp_path: Path) -> None:
    devices, order = ("cpu",), list[str]()
    waited = list[str]()

    def second() -> None:
        with lease_device(devices, tmp_path, on_wait=waited.append) as device:
            order.append(f"second {device}")

    with lease_device(devices, tmp_path) as device:
        thread = threading.Thread(target=second)
        thread.start()
        wait_for(lambda: waited)
        order.append(f"first {device}")
    thread.join(10)
    assert order == ["first cpu", "second cpu"] and waited == ["waits for cpu"]


def test_the_next_device_is_leased_if_the_first_is_taken(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    with (
        lease_device(("cuda:0", "cuda:1"), tmp_path) as one,
        lease_device(("cuda:0", "cuda:1"), tmp_path / "other") as two,
    ):
        assert (one, two) == ("cuda:0", "cuda:1"), "a GPU has one lease per machine, not per app"


def test_the_lease_of_a_killed_process_is_released(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with lease_device(("cpu",), tmp_path):
            (tmp_path / "held").touch()
            signal.pause()
    wait_for((tmp_path / "held").exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with lease_device(("cpu",), tmp_path, on_wait=raise_error):
        assert lease_file("cpu", tmp_path).exists()


def raise_error(text: str) -> None:
    raise AssertionError(text)
