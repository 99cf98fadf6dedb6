"""Lease a device to one job at a time, with a lock that the system releases when its process ends or is killed."""

import getpass
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lib.records.ledger import FOLDER

POLL_SECONDS = 0.2


@contextmanager
def lease_device(
    devices: Sequence[str], app_dir: str | Path, *, on_wait: Callable[[str], object] = lambda _: None
) -> Iterator[str]:
    """Wait for the first free device and yield its name; the lease lasts until the block ends.

    Args:
        devices: Names of devices, such as "cuda:0" or "cpu".
        app_dir: Folder of the app. A GPU has one lease per machine, the CPU one per app.
        on_wait: Called once with a message, if no device is free.
    """
    has_reported = False
    while True:
        for device in devices:
            lock = FileLock(lease_file(device, app_dir))
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield device
            finally:
                lock.release()
            return
        if not has_reported:
            on_wait(f"waits for {' or '.join(devices)}")
            has_reported = True
        time.sleep(POLL_SECONDS)


def lease_file(device: str, app_dir: str | Path) -> Path:
    """Return the file that is locked while a device is leased; create its folder."""
    machine_wide = Path(tempfile.gettempdir()) / f"topolabel-{getpass.getuser()}"
    folder = Path(app_dir) / FOLDER if device == "cpu" else machine_wide
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{device.replace(':', '-')}.lease"
