"""Start the worker process and the processes of its jobs, with the settings of the server."""

import os
import sys
from pathlib import Path

from lib.jobs.queue.run import execute
from lib.jobs.queue.worker import Worker
from lib.server.serve import configure, existing_app, existing_studies


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
    environment = os.environ | {
        # A job reads the store once; it must not reload it while it runs.
        "MONAI_LABEL_DATASTORE_AUTO_RELOAD": "false",
        "MONAI_LABEL_RELOAD_APP_LIB": "false",
    }

    def command(job: str) -> list[str]:
        return [sys.executable, "-m", "lib", "jobs", "run", str(app_dir), job, "--parent", str(os.getpid())]

    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    Worker(app_dir, command, at_once=max(1, gpus), environment=environment).run(parent)


def run(app_dir: str | Path, job: str, parent: int = 0) -> bool:
    """Run one job in this process and return whether it succeeded.

    Args:
        app_dir: The app's folder.
        job: Id of the job.
        parent: Process id of the worker; the job ends when that process ends. 0 for none.
    """
    from lib.tasks.jobs.kinds import KINDS, devices
    from lib.tasks.serving.niceness import lower_process_priority

    lower_process_priority()
    return execute(app_dir, job, KINDS, devices, parent)
