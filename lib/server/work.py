"""Start the worker process and the processes of its jobs, with the settings of the server."""

import logging
import os
import sys
from pathlib import Path

from lib.jobs.queue.fork_server import ForkServer
from lib.jobs.queue.run import execute
from lib.jobs.queue.worker import Worker
from lib.server.serve import configure, existing_app, existing_studies

PRELOADED = (
    "monai.engines.trainer",
    "ignite.engine",
    "mlflow",
    "lib.tasks.training.retrain",
    "lib.tasks.jobs.kinds",
    "lib.tasks.app",
)
"""Modules that every job needs, imported once for all jobs."""


def work(app_dir: str | Path, studies: str | Path, parent: int = 0) -> None:
    """Run the jobs of an app until interrupted.

    Args:
        app_dir: The app's folder.
        studies: Folder of studies, or the address of a DICOMweb server.
        parent: Process id of the server; the worker ends when that process ends. 0 for none.
    Raises:
        CannotServe: If the app or the studies do not exist.
    """
    app_dir, studies = existing_app(app_dir), existing_studies(studies)
    configure(app_dir, studies, int(os.environ.get("MONAI_LABEL_SERVER_PORT", "8000")))
    os.environ |= {
        # A job reads the store once; it must not reload it while it runs.
        "MONAI_LABEL_DATASTORE_AUTO_RELOAD": "false",
        "MONAI_LABEL_RELOAD_APP_LIB": "false",
        # Look for GPUs through NVML: a look through CUDA would make CUDA unusable in the forked jobs.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
    forks = ForkServer(app_dir, run_forked, PRELOADED)
    forks.prepare()
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    Worker(app_dir, forks.start, at_once=max(1, gpus)).run(parent)


def run_forked(app_dir: str, job: str) -> bool:
    """Do one job in this forked process and return whether it succeeded."""
    import torch

    if torch.cuda._is_in_bad_fork():
        # A module that was imported before the fork has used CUDA: only a new process can use it now.
        os.execv(
            sys.executable, [sys.executable, "-m", "lib", "jobs", "run", app_dir, job, "--parent", str(os.getppid())]
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr, force=True)
    Path("/proc/self/comm").write_text(f"job {job}"[:15])
    return run(app_dir, job)


def run(app_dir: str | Path, job: str, parent: int = 0) -> bool:
    """Run one job in this process and return whether it succeeded.

    Args:
        app_dir: The app's folder.
        job: Id of the job.
        parent: Process id of the worker; the job ends when that process ends. 0 for none.
    """
    from lib.tasks.jobs.kinds import KINDS, devices
    from lib.tasks.serving.priority import lower_process_priority

    lower_process_priority()
    return execute(app_dir, job, KINDS, devices, parent)
