"""A process that ends when its parent process ends."""

import os
import signal
from pathlib import Path

from lib.jobs.queue.exit_with_parent import exit_with_parent
from tests.jobs.queue.processes import alive
from tests.waiting import wait_for


def test_a_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = os.fork()
    if parent == 0:
        owner = os.getpid()
        if os.fork() == 0:
            exit_with_parent(owner, (tmp_path / "called").touch)
            (tmp_path / "child").write_text(str(os.getpid()))
        signal.pause()
    wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_for(lambda: not alive(child))
    assert (tmp_path / "called").exists()
