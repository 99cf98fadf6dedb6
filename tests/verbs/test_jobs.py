import json
from pathlib import Path

from lib.jobs.queue.broker import Queue
from tests.command import run


def test_jobs_are_listed_shown_and_stopped(app: Path) -> None:
    """The list has progress, remaining time and position; a stop ends a job, and a second stop is refused."""
    queue = Queue(app)
    running, waiting = (queue.submit("train", "topowmamba", {"model": "topowmamba"}, origin="Anna") for _ in range(2))
    queue.jobs.claim(running.id)
    queue.jobs.save_progress(running.id, {"fraction": 0.25, "text": "epoch 1/4, 0:03:00 left", "eta_seconds": 180.0})
    listed = run("jobs", "list", app).stdout
    assert "epoch 1/4, 0:03:00 left" in listed and "origin: Anna" in listed
    assert "position: 1" in listed and "None" not in listed
    first, second = json.loads(run("jobs", "list", app, "--json").stdout)["jobs"]
    assert (first["status"], first["progress"]["eta_seconds"], first["position"]) == ("RUNNING", 180.0, None)
    assert (second["status"], second["position"]) == ("SUBMITTED", 1)
    queue.log(running).parent.mkdir(parents=True)
    queue.log(running).write_text("one line\nanother\n")
    assert "log:\n  - one line\n  - another" in run("jobs", "show", app, running.id[:8]).stdout
    assert json.loads(run("jobs", "stop", app, waiting.id, "--json").stdout)["status"] == "STOPPED"
    again = run("jobs", "stop", app, waiting.id)
    assert again.exit_code == 1 and "has ended already: STOPPED" in again.stderr
