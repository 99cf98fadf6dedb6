"""A worker and its jobs as separate processes: ``... tests.jobs.queue.processes (work|run) APP ...``."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lib.jobs.queue.job import Job
from lib.jobs.queue.run import Run, execute
from lib.jobs.queue.worker import Worker

ROOT = Path(__file__).resolve().parents[3]
Process = subprocess.Popen[bytes]


def count(run: Run) -> dict[str, Any]:
    """Count to a number and write every number to a file; continue from the progress of an interrupted run."""
    total, begun = int(run.job.request["to"]), int(run.job.progress.get("counted", 0))
    with (run.app_dir / f"{run.job.id}.txt").open("a") as file:
        for number in range(begun, total):
            file.write(f"{number}\n")
            file.flush()
            run.report_progress(
                {"counted": number + 1, "fraction": (number + 1) / total, "text": f"{number + 1} of {total}"},
                always=True,
            )
            time.sleep(float(run.job.request.get("pause", 0.0)))
    return {"counted": total, "from": begun}


def fail(run: Run) -> None:
    """Raise an error."""
    raise ValueError("this  one\nfails")


def die(run: Run) -> None:
    """Kill this process with a signal."""
    os.kill(os.getpid(), int(run.job.request.get("signal", 9)))
    time.sleep(60)


def leave(run: Run) -> None:
    """Exit with a status after a last line of output."""
    print("there was no way", flush=True)
    os._exit(3)


def lose_the_disk(run: Run) -> None:
    """Exit as a job does that can write neither its end nor the reason."""
    os._exit(os.EX_IOERR)


KINDS = {"lose the disk": lose_the_disk, "count": count, "fail": fail, "die": die, "leave": leave}


def start_worker(app_dir: Path, parent: int = 0) -> Process:
    """Start a worker of an app."""
    command = [sys.executable, "-m", "tests.jobs.queue.processes", "work", str(app_dir), str(parent)]
    with (app_dir / "worker.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)


def alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def cpu(_: Job) -> list[str]:
    return ["cpu"]


def main(verb: str, app_dir: str, third: str) -> None:
    """Run the worker, or one of its jobs."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    if verb == "run":
        raise SystemExit(0 if execute(app_dir, third, KINDS, cpu, os.getppid()) else 1)
    command = [sys.executable, "-m", "tests.jobs.queue.processes", "run", app_dir]

    def start(job: str, log: Path) -> Process:
        with log.open("ab") as output:
            return subprocess.Popen([*command, job], stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    Worker(app_dir, start).run(int(third))


if __name__ == "__main__":
    main(*sys.argv[1:4])
