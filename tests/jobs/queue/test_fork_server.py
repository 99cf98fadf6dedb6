"""Jobs in forks of one process: their output, their ends, and what ends them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.jobs.queue.fork_server import ForkedJob, ForkServer
from tests.jobs.queue.processes import alive
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]


def work(app_dir: str, job: str) -> bool:
    """Do what the name of a job says."""
    print(f"{job} runs; decimal is imported: {'decimal' in sys.modules}", flush=True)
    if job == "sleeps":
        Path(app_dir, "pid").write_text(str(os.getpid()))
        time.sleep(60)
    if job == "exits":
        raise SystemExit(os.EX_IOERR)
    return job != "fails"


@pytest.fixture
def forks(tmp_path: Path) -> ForkServer:
    return ForkServer(tmp_path, work, ["decimal"])


@pytest.mark.parametrize(("job", "status"), [("succeeds", 0), ("fails", 1), ("exits", os.EX_IOERR)])
def test_a_job_ends_with_its_status_and_its_output_is_in_the_log(
    forks: ForkServer, tmp_path: Path, job: str, status: int
) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    process = forks.start(job, log)
    assert process.wait() == status == process.poll() == process.returncode
    assert log.read_text().splitlines() == ["before", f"{job} runs; decimal is imported: True"]


@pytest.mark.parametrize(("end", "number"), [(ForkedJob.terminate, signal.SIGTERM), (ForkedJob.kill, signal.SIGKILL)])
def test_a_job_that_is_killed_says_by_which_signal(forks: ForkServer, tmp_path: Path, end, number: int) -> None:
    process = forks.start("sleeps", tmp_path / "log")
    wait_for(lambda: (tmp_path / "pid").is_file())
    assert process.poll() is None and alive(process.pid)
    end(process)
    assert process.wait() == -number


def test_a_job_ends_when_its_worker_is_killed(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from lib.jobs.queue.fork_server import ForkServer; "
        "from tests.jobs.queue.test_fork_server import work; "
        # The server has a name: its end is the end of its jobs, as the worker's is.
        f"server = ForkServer({str(tmp_path)!r}, work, []); "
        f"server.start('sleeps', Path({str(tmp_path / 'log')!r})); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "")
    job = int((tmp_path / "pid").read_text())
    worker.kill()
    worker.wait()
    wait_for(lambda: not alive(job))
