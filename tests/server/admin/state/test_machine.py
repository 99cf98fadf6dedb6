"""The state of the machine; values that cannot be read are reported and break nothing."""

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from lib.server.admin.state import machine as module
from lib.server.admin.state.machine import Disk, Gpu, machine, software


def test_disks_memory_and_software(history: Any) -> None:
    found = machine(history.app)
    assert [disk.what for disk in found.disks] == ["App", "Studies"]
    assert all(0 < disk.free <= disk.total for disk in found.disks)
    assert 10 << 20 < found.rss < found.memory_total and found.cores >= 1 and found.ledger_rows == 0
    assert found.software["monailabel"] == "0.8.5" and found.software["TopoLabel"]


def test_files_that_are_no_studies_are_named(history: Any) -> None:
    assert machine(history.app).left_out == ()
    store = history.app.datastore()
    (Path(history.app.studies) / "ct_0.nrrd").write_bytes(b"")
    store.refresh()
    (entry,) = machine(history.app).left_out
    assert entry.name == "ct_0.nrrd" and "the study 'ct_0.nii.gz' has the same name" in entry.reason


def test_the_disk_of_an_archive_is_not_read(history: Any) -> None:
    history.app.studies = "http://127.0.0.1:8042/dicom-web"
    disk = machine(history.app).disks[1]
    assert "another machine" in disk.fault and not disk.low


def test_a_missing_folder_is_reported(history: Any) -> None:
    history.app.studies = "/nowhere at all"
    assert machine(history.app).disks[1].fault == "No such file or directory"


@pytest.mark.parametrize(
    ("free", "total", "low"), [(4 << 30, 40 << 30, True), (90 << 30, 4000 << 30, True), (90 << 30, 400 << 30, False)]
)
def test_low_free_space_is_reported(free: int, total: int, low: bool) -> None:
    assert Disk("App", "/", free, total).low is low


def test_an_unused_gpu_is_not_queried(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert machine(history.app).gpus == [Gpu("GPU 0")]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1, 2))
    assert machine(history.app).gpus == [Gpu("H100", 1, 2)]


def test_a_process_that_has_ended_counts_no_memory() -> None:
    class Gone:
        def memory_info(self) -> None:
            raise psutil.NoSuchProcess(1)

    assert module._rss(Gone()) == 0  # type: ignore[arg-type]


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("no-such-package",))
    software.cache_clear()
    assert software()["no-such-package"] == "not installed"
    software.cache_clear()
