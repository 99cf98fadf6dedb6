"""A process that ends with whoever started it."""

import os
import signal
from pathlib import Path

from lib.jobs.queue.parent import end_with
from tests.jobs.queue.processes import alive
from tests.waiting import wait_for


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = os.fork()
    if parent == 0:
        owner = os.getpid()
        if os.fork() == 0:
            end_with(owner, (tmp_path / "told").touch)
            (tmp_path / "child").write_text(str(os.getpid()))
        signal.pause()
    wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_for(lambda: not alive(child))
    assert (tmp_path / "told").exists()
