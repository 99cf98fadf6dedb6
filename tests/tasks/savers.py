"""Processes that save labels to a store and are killed while they save; forked from a process that has the imports."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.tasks.store.archive import attach_records
from lib.tasks.store.folder import FolderStore
from lib.tasks.store.proposals import Proposals
from tests.waiting import wait_for


def open_store(app_dir: Path, studies: Path) -> FolderStore:
    """Return a store that records the saved labels."""
    store = FolderStore(str(studies), extensions=["*.nii.gz", "*.nrrd"])
    recording = attach_records(store, LabelVersions(app_dir, Ledger.of(app_dir)), Proposals())
    assert isinstance(recording, FolderStore)
    return recording


def save(app_dir: Path, studies: Path, seed: int) -> None:
    """Save labels in an endless loop, and report each label after the store has acknowledged it."""
    store, rng = open_store(app_dir, studies), random.Random(seed)
    upload = app_dir / f"upload-{seed}.nii.gz"
    file = os.open(app_dir / "reports", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        image, content = rng.choice(store.list_images()), rng.randbytes(200_000)
        upload.write_bytes(content)
        store.save_label(image, str(upload), "final", {"user": "Anna"})
        os.write(file, f"{json.dumps([image, content[:16].hex()])}\n".encode())


def kill(app_dir: Path, studies: Path, rounds: int, seed: int) -> None:
    """Repeatedly kill a saving process at a random moment, then open the store."""
    rng, reports = random.Random(seed), app_dir / "reports"
    reports.touch()
    for number in range(rounds):
        before = reports.stat().st_size
        child = os.fork()
        if child == 0:
            try:
                save(app_dir, studies, seed + number)
            finally:
                os._exit(1)
        wait_for(lambda before=before: reports.stat().st_size > before)
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the saving process ended before it was killed"
        assert Ledger.of(app_dir).verify() == []
        assert len(open_store(app_dir, studies).list_images()) == 3


if __name__ == "__main__":
    kill(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
