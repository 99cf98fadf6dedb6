import json
from pathlib import Path

from lib.jobs.queue.broker import Queue
from tests.command import run


def test_jobs_are_told_to_a_person(app: Path) -> None:
    """How far, how long yet, what waits where; and a stop that is one."""
    queue = Queue(app)
    running, waiting = (queue.submit("train", "topowmamba", {"model": "topowmamba"}, origin="Anna") for _ in range(2))
    queue.jobs.claim(running.id)
    queue.jobs.tell(running.id, {"fraction": 0.25, "text": "epoch 1/4, 0:03:00 left", "eta_seconds": 180.0})
    told = run("jobs", "list", app).stdout
    assert "epoch 1/4, 0:03:00 left" in told and "origin: Anna" in told and "position: 1" in told and "None" not in told
    ours, theirs = json.loads(run("jobs", "list", app, "--json").stdout)["jobs"]
    assert (ours["status"], ours["progress"]["eta_seconds"], ours["position"]) == ("RUNNING", 180.0, None)
    assert (theirs["status"], theirs["position"]) == ("SUBMITTED", 1)
    queue.log(running).parent.mkdir(parents=True)
    queue.log(running).write_text("one line\nanother\n")
    assert "log:\n  - one line\n  - another" in run("jobs", "show", app, running.id[:8]).stdout
    assert json.loads(run("jobs", "stop", app, waiting.id, "--json").stdout)["status"] == "STOPPED"
    again = run("jobs", "stop", app, waiting.id)
    assert again.exit_code == 1 and "is over: STOPPED" in again.stderr
