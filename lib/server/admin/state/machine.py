"""The machine below the server: disks, memory, GPUs, what is kept in memory, and which software this is."""

import os
import platform
import shutil
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from lib.records.card import find_code_version
from lib.tasks.app import TopoLabelApp
from lib.tasks.click.cache import Counts
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.infer import ClickInfer

PACKAGES = ("monailabel", "monai", "torch", "numpy", "SimpleITK", "fastapi")
LOW_BYTES, LOW_SHARE = 5 << 30, 0.05
"""Less room than either is said in words: one study with its label versions takes hundreds of megabytes."""


@dataclass(frozen=True)
class Disk:
    """A file system. `fault` says why it cannot be looked at."""

    what: str
    path: str
    free: int = 0
    total: int = 0
    fault: str = ""

    @property
    def low(self) -> bool:
        """Whether somebody should make room."""
        return not self.fault and (self.free < LOW_BYTES or self.free < LOW_SHARE * self.total)


@dataclass(frozen=True)
class Gpu:
    """A GPU; `free` and `total` are None until this server has used it, for to ask would take memory of it."""

    name: str
    free: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Kept:
    """A cache of embeddings: whose it is, what it holds, and what it may take."""

    task: str
    counts: Counts
    max_bytes: int


@dataclass(frozen=True)
class Machine:
    """All of it. Bytes and seconds."""

    disks: list[Disk]
    rss: int
    workers_rss: int
    memory_free: int
    memory_total: int
    cores: int
    load: tuple[float, float, float]
    gpus: list[Gpu]
    caches: list[Kept]
    started: float
    software: dict[str, str]
    ledger_rows: int


def machine(app: TopoLabelApp) -> Machine:
    """Return how the machine stands."""
    own, memory = psutil.Process(), psutil.virtual_memory()
    return Machine(
        disks=[_disk("App", str(app.app_dir)), _disk("Studies", app.studies)],
        rss=own.memory_info().rss,
        workers_rss=sum(_rss(child) for child in own.children(recursive=True)),
        memory_free=memory.available,
        memory_total=memory.total,
        cores=os.cpu_count() or 1,
        load=os.getloadavg(),
        gpus=_gpus(),
        caches=_caches(app),
        started=own.create_time(),
        software=software(),
        ledger_rows=app.ledger.last(),
    )


@lru_cache(maxsize=1)
def software() -> dict[str, str]:
    """Return names and versions of what runs here."""
    found = {"TopoLabel": find_code_version() or "unknown", "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _disk(what: str, path: str) -> Disk:
    if path.startswith(("http://", "https://")):
        return Disk(what, path, fault="an archive elsewhere: its disk is not seen from here")
    try:
        usage = shutil.disk_usage(Path(path))
    except OSError as error:
        return Disk(what, path, fault=error.strerror or str(error))
    return Disk(what, path, usage.free, usage.total)


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0  # it ended while we looked


def _gpus() -> list[Gpu]:
    count = torch.cuda.device_count()
    if not torch.cuda.is_initialized():
        return [Gpu(f"GPU {index}") for index in range(count)]
    return [Gpu(torch.cuda.get_device_name(index), *torch.cuda.mem_get_info(index)) for index in range(count)]


def _caches(app: TopoLabelApp) -> list[Kept]:
    clickers: dict[str, Clicker] = {
        infer.task.name: infer.clicker for infer in app.infers.values() if isinstance(infer, ClickInfer)
    }
    return [Kept(name, each.embeddings.counts, each.embeddings.max_bytes) for name, each in clickers.items()]
