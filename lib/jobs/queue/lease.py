"""One job at a time on a device: a lock that the system frees when its holder ends, however it ends."""

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
def leased(
    devices: Sequence[str], app_dir: str | Path, *, waits: Callable[[str], object] = lambda _: None
) -> Iterator[str]:
    """Yield the first of some devices that is free, and keep it until the block ends.

    Args:
        devices: Names such as "cuda:0" or "cpu".
        app_dir: The app's folder. A GPU is leased for this machine, the CPU for this app.
        waits: Told once, in words, if all are taken.
    """
    told = False
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
        if not told:
            waits(f"waits for {' or '.join(devices)}")
            told = True
        time.sleep(POLL_SECONDS)


def lease_file(device: str, app_dir: str | Path) -> Path:
    """Return the file that is locked while a device is leased; its folder is made."""
    machine_wide = Path(tempfile.gettempdir()) / f"topolabel-{getpass.getuser()}"
    folder = Path(app_dir) / FOLDER if device == "cpu" else machine_wide
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{device.replace(':', '-')}.lease"
