"""The supervisor: it restarts a worker that ends, and ends the worker."""

import os
import sys
from pathlib import Path

from lib.jobs.queue.supervisor import Supervisor
from tests.jobs.queue.processes import alive
from tests.waiting import wait_for

STAY = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()} {sys.argv[3]}\\n'); time.sleep(600)"


def test_a_worker_is_started_restarted_and_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    supervisor = Supervisor([sys.executable, "-c", STAY, str(pids)], tmp_path / "logs" / "worker.log")

    def lines() -> list[str]:
        return pids.read_text().splitlines() if pids.exists() else []

    supervisor.start()
    wait_for(lambda: len(lines()) == 1)
    assert supervisor.process is not None
    supervisor.process.kill()
    wait_for(lambda: len(lines()) == 2)
    worker = int(lines()[1].split()[0])
    assert os.getpgid(worker) == worker, "Ctrl+C does not reach the worker"
    assert os.getsid(worker) == os.getsid(0), "in another session its niceness would not count against the server"
    supervisor.end()
    (first, parent), (second, _) = (line.split() for line in lines())
    assert int(parent) == os.getpid() and first != second
    wait_for(lambda: not alive(int(second)))
    assert len(lines()) == 2
