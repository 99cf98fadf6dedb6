"""The state of the server's machine: disks, memory, GPUs, caches and software versions."""

import os
import platform
import shutil
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from lib.data.listing import LeftOut
from lib.records.card import find_code_version
from lib.tasks.app import TopoLabelApp
from lib.tasks.click.cache import CacheCounts
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.infer import ClickInfer
from lib.tasks.store.folder import FolderStore

PACKAGES = ("monailabel", "monai", "torch", "numpy", "SimpleITK", "fastapi")
LOW_BYTES, LOW_SHARE = 5 << 30, 0.05
"""Free space below either limit is reported as low: one study with its label versions takes hundreds of megabytes."""


@dataclass(frozen=True)
class Disk:
    """A file system; `free` and `total` are in bytes, and `fault` is the reason if they cannot be read."""

    what: str
    path: str
    free: int = 0
    total: int = 0
    fault: str = ""

    @property
    def low(self) -> bool:
        """Whether the free space is low."""
        return not self.fault and (self.free < LOW_BYTES or self.free < LOW_SHARE * self.total)


@dataclass(frozen=True)
class Gpu:
    """A GPU; `free` and `total` are in bytes, and None before the first use: the query itself takes GPU memory."""

    name: str
    free: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class EmbeddingCache:
    """The cache of embeddings of a task: its counters and its largest size in bytes."""

    task: str
    counts: CacheCounts
    max_bytes: int


@dataclass(frozen=True)
class Machine:
    """The state of the machine; memory in bytes, times in seconds; `left_out` has the files that are no studies."""

    disks: list[Disk]
    rss: int
    workers_rss: int
    memory_free: int
    memory_total: int
    cores: int
    load: tuple[float, float, float]
    gpus: list[Gpu]
    caches: list[EmbeddingCache]
    started: float
    software: dict[str, str]
    ledger_rows: int
    left_out: tuple[LeftOut, ...]


def machine(app: TopoLabelApp) -> Machine:
    """Return the state of the machine."""
    own, memory, store = psutil.Process(), psutil.virtual_memory(), app.datastore()
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
        left_out=store.left_out if isinstance(store, FolderStore) else (),
    )


@lru_cache(maxsize=1)
def software() -> dict[str, str]:
    """Return the versions of the installed software by name."""
    found = {"TopoLabel": find_code_version() or "unknown", "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _disk(what: str, path: str) -> Disk:
    if path.startswith(("http://", "https://")):
        return Disk(what, path, fault="DICOMweb archive: the disk of another machine cannot be read")
    try:
        usage = shutil.disk_usage(Path(path))
    except OSError as error:
        return Disk(what, path, fault=error.strerror or str(error))
    return Disk(what, path, usage.free, usage.total)


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0  # the process has ended meanwhile


def _gpus() -> list[Gpu]:
    count = torch.cuda.device_count()
    if not torch.cuda.is_initialized():
        return [Gpu(f"GPU {index}") for index in range(count)]
    return [Gpu(torch.cuda.get_device_name(index), *torch.cuda.mem_get_info(index)) for index in range(count)]


def _caches(app: TopoLabelApp) -> list[EmbeddingCache]:
    clickers: dict[str, Clicker] = {
        infer.task.name: infer.clicker for infer in app.infers.values() if isinstance(infer, ClickInfer)
    }
    caches = {name: clicker.embeddings for name, clicker in clickers.items()}
    return [EmbeddingCache(name, cache.counts, cache.max_bytes) for name, cache in caches.items()]
