"""Processes that write to a ledger at the same time or are killed while writing; forked, so that imports are shared."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lib.records.ledger import URL_VARIABLE, Ledger
from tests.waiting import wait_for


def ledger_in(folder: Path) -> Ledger:
    """Return the ledger of a folder, or of the database that the environment names."""
    return Ledger(folder, os.environ.get(URL_VARIABLE, ""))


def fork(work: Callable[[int], None], reports: Path) -> int:
    """Start a process that calls `work` with the file descriptor of `reports`; return the id of the process."""
    if child := os.fork():
        return child
    try:
        work(os.open(reports, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    finally:
        os._exit(0)


def append(folder: Path, name: str, count: int) -> Callable[[int], None]:
    """Return a function that appends rows and writes the number and hash of every saved row to a file."""

    def work(file: int) -> None:
        ledger = ledger_in(folder)
        for number in range(count):
            row = ledger.append("job", name, {"number": number})
            os.write(file, f"{row.seq} {row.hash}\n".encode())

    return work


def race(folder: Path, writers: int, count: int) -> None:
    """Let several processes append rows at the same time."""
    children = [fork(append(folder, f"writer {index}", count), folder / "reports") for index in range(writers)]
    for child in children:
        os.waitpid(child, 0)


def kill(folder: Path, rounds: int, seed: int) -> None:
    """Repeatedly kill two writers at a random moment, and verify the chain after every kill."""
    rng, reports = random.Random(seed), folder / "reports"
    reports.touch()
    for _ in range(rounds):
        before = reports.stat().st_size
        children = [fork(append(folder, "killed", 1_000_000), reports) for _ in range(2)]
        wait_for(lambda before=before: reports.stat().st_size > before)
        time.sleep(rng.uniform(0.0, 0.1))
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert (faults := ledger_in(folder).verify()) == [], faults


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    {"race": race, "kill": kill}[sys.argv[1]](folder, *json.loads(sys.argv[3]))
