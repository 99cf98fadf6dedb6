"""MONAI Label's task functions on the durable queue: the same shapes and words, and what is due."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from monailabel.endpoints import train as train_routes
from monailabel.interfaces.exception import MONAILabelException
from monailabel.utils.async_tasks.task import AsyncTask

from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED, SUBMITTED
from lib.jobs.recorded import recorded
from lib.tasks.app import TopoLabelApp
from lib.tasks.jobs import answers
from lib.tasks.jobs.answers import QueuedTasks, active_first, answer_from


@pytest.fixture
def tasks(app: TopoLabelApp) -> QueuedTasks:
    return QueuedTasks(app)


@pytest.fixture
def accept(app: TopoLabelApp) -> Callable[[], object]:
    """Say in the ledger that a label was accepted."""
    return lambda: app.ledger.append("label", "ct_0", {"tag": "final", "source": "submitted"})


def test_a_task_has_monai_labels_shape(tasks: QueuedTasks) -> None:
    task, detail = tasks.run("train", {"model": "tubes"}, {"max_epochs": 3, "client_id": "Anna"})
    assert detail is None and task["status"] == SUBMITTED and task["position"] == 1
    assert task["request"].items() >= {"model": "tubes", "max_epochs": 3}.items()
    assert set(task) >= {"id", "status", "request", "start_ts", "details"} and task["details"] == []
    assert "end_ts" not in task


def test_one_at_a_time_unless_it_may_wait(tasks: QueuedTasks) -> None:
    assert tasks.run("train", {"model": "tubes"})[0]
    assert tasks.run("train", {"model": "tubes"}) == (None, "++++++++++ Train Task is Already Running")
    assert tasks.run("train", {"model": "tubes"}, enqueue=True)[0]["position"] == 2
    assert tasks.run("scoring", {"method": "dice"})[0], "another kind is another matter"


@pytest.mark.parametrize(("kind", "key"), [("train", "model"), ("batch_infer", "model"), ("scoring", "method")])
def test_unknown_names_are_refused_before_they_wait(tasks: QueuedTasks, kind: str, key: str) -> None:
    with pytest.raises(MONAILabelException, match="there is: ") as caught:
        tasks.run(kind, {key: "other"})
    assert "other" in str(caught.value.msg)
    assert tasks.status(kind)[0] is None


def test_status_tells_the_one_at_work_else_the_last(app: TopoLabelApp, tasks: QueuedTasks) -> None:
    assert tasks.status("train") == (None, "No Train Tasks Found")
    assert tasks.status("train", check_if_running=True) == (None, "No Train Tasks are currently Running")
    ids = [tasks.run("train", {"model": "tubes"}, enqueue=True)[0]["id"] for _ in range(3)]
    app.queue.jobs.claim(ids[1])
    assert tasks.status("train")[0]["id"] == tasks.status("train", check_if_running=True)[0]["id"] == ids[1]
    assert [task["id"] for task in tasks.status("train", all=True)[0]] == ids
    for name in ids:
        app.queue.jobs.claim(name)
        app.queue.jobs.finish(name, DONE)
    last = tasks.status("train")[0]
    assert last["id"] == ids[2] and last["status"] == DONE and last["end_ts"] >= last["start_ts"]
    assert tasks.status("train", check_if_running=True)[0] is None


def test_what_runs_comes_before_what_waits(app: TopoLabelApp, tasks: QueuedTasks) -> None:
    first, second = (tasks.run("train", {"model": "tubes"}, enqueue=True)[0]["id"] for _ in range(2))
    app.queue.jobs.claim(second)
    assert [job.id for job in active_first(app.queue.jobs.list())] == [second, first]
    assert list(app.info()["train_stats"]) == ["tubes"]


def test_stop_ends_what_runs_then_what_waits(app: TopoLabelApp, tasks: QueuedTasks) -> None:
    assert tasks.stop("train") is None
    first, second = (tasks.run("train", {"model": "tubes"}, enqueue=True)[0]["id"] for _ in range(2))
    app.queue.jobs.claim(second)
    stopped = [tasks.stop("train") or {} for _ in range(2)]
    assert [each["id"] for each in stopped] == [second, first]
    assert all(each["status"] == STOPPED for each in stopped) and tasks.stop("train") is None


def test_update_trains_what_is_due(app: TopoLabelApp, tasks: QueuedTasks, accept: Callable[[], object]) -> None:
    nothing = tasks.update()["tubes"]
    assert nothing["result"] is None and "No label was accepted" in nothing["detail"]
    accept()
    begun = tasks.update({"tubes": {"max_epochs": 2}})["tubes"]
    assert begun["result"]["status"] == SUBMITTED and begun["result"]["request"]["max_epochs"] == 2
    again = tasks.update()["tubes"]
    assert again["result"]["id"] == begun["result"]["id"] and "Already Running" in again["detail"]
    app.queue.jobs.claim(begun["result"]["id"])
    with recorded(app.ledger, "tubes", begun["result"]["id"]):
        app.queue.jobs.finish(begun["result"]["id"], DONE)
    assert tasks.update()["tubes"]["result"] is None, "it learned from that label"
    accept()
    assert tasks.update()["tubes"]["result"]


@pytest.mark.parametrize("status", [DONE, ERROR])
def test_who_waits_gets_the_result_or_the_reason(
    app: TopoLabelApp, tasks: QueuedTasks, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(answers, "POLL_SECONDS", 0.02)

    def work() -> None:
        while not (waiting := app.queue.jobs.list(going=True)):
            time.sleep(0.02)
        app.queue.jobs.claim(waiting[0].id)
        app.queue.jobs.finish(waiting[0].id, status, result={"ct_0": 1}, reason="" if status == DONE else "no light")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        if status == DONE:
            assert tasks.run("scoring", {"method": "dice"}, force_sync=True) == ({"ct_0": 1}, None)
        else:
            with pytest.raises(MONAILabelException) as caught:
                tasks.run("scoring", {"method": "dice"}, force_sync=True)
            assert "scoring ERROR: no light" in str(caught.value.msg)
    finally:
        worker.join()


def test_monai_labels_functions_are_the_queues(app: TopoLabelApp, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run", "status", "stop"):
        monkeypatch.setattr(AsyncTask, name, staticmethod(getattr(AsyncTask, name)))
    monkeypatch.setattr(train_routes, "run", train_routes.run)
    answer_from(app)
    task: Any = AsyncTask.run("train", {"model": "tubes"})[0]
    app.queue.jobs.claim(task["id"])
    assert AsyncTask.status("train")[0]["status"] == RUNNING
    stopped: Any = AsyncTask.stop("train")
    assert stopped["id"] == task["id"] and set(train_routes.run()) == {"tubes"}
