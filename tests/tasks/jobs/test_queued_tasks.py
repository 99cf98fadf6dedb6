"""MONAI Label's task functions on the persistent queue: JSON, messages, and training of tasks with new labels."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from monailabel.endpoints import train as train_routes
from monailabel.interfaces.exception import MONAILabelException
from monailabel.utils.async_tasks.task import AsyncTask

from lib.jobs.job_record import record_job
from lib.jobs.queue.job import DONE, ERROR, RUNNING, STOPPED, SUBMITTED
from lib.tasks.app import TopoLabelApp
from lib.tasks.jobs import queued_tasks as answers
from lib.tasks.jobs.queued_tasks import QueuedTasks, route_tasks_to_queue, running_first


@pytest.fixture
def tasks(app: TopoLabelApp) -> QueuedTasks:
    return QueuedTasks(app)


@pytest.fixture
def submit_label(app: TopoLabelApp) -> Callable[[], object]:
    """Record a submitted label in the ledger."""
    return lambda: app.ledger.append("label", "ct_0", {"tag": "final", "source": "submitted"})


def test_a_task_has_the_keys_of_monai_label(tasks: QueuedTasks) -> None:
    task, detail = tasks.run("train", {"model": "tubes"}, {"max_epochs": 3, "client_id": "Anna"})
    assert detail is None and task["status"] == SUBMITTED and task["position"] == 1
    assert task["request"].items() >= {"model": "tubes", "max_epochs": 3}.items()
    assert set(task) >= {"id", "status", "request", "start_ts", "details"} and task["details"] == []
    assert "end_ts" not in task


def test_a_second_job_is_refused_unless_it_may_wait(tasks: QueuedTasks) -> None:
    assert tasks.run("train", {"model": "tubes"})[0]
    assert tasks.run("train", {"model": "tubes"}) == (None, "++++++++++ Train Task is Already Running")
    assert tasks.run("train", {"model": "tubes"}, enqueue=True)[0]["position"] == 2
    assert tasks.run("scoring", {"method": "dice"})[0], "a job of another kind does not block it"


@pytest.mark.parametrize(("kind", "key"), [("train", "model"), ("batch_infer", "model"), ("scoring", "method")])
def test_unknown_names_are_refused_before_the_job_is_queued(tasks: QueuedTasks, kind: str, key: str) -> None:
    with pytest.raises(MONAILabelException, match="there is: ") as caught:
        tasks.run(kind, {key: "other"})
    assert "other" in str(caught.value.msg)
    assert tasks.status(kind)[0] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_epoch": 3}, "unknown option max_epoch; Finetune has max_epochs"), ({"max_epochs": "many"}, "takes int")],
)
def test_options_that_the_recipe_refuses_are_refused_before_the_job_is_queued(
    tasks: QueuedTasks, submit_label: Callable[[], object], options: dict[str, Any], message: str
) -> None:
    submit_label()
    for submit in (
        lambda: tasks.run("train", {"model": "tubes"}, options),
        lambda: tasks.update(options),
        lambda: tasks.update({"tubes": options}),
    ):
        with pytest.raises(MONAILabelException) as caught:
            submit()
        assert message in str(caught.value.msg) and "'tubes'" in str(caught.value.msg)
    assert tasks.status("train")[0] is None


def test_what_a_viewer_sends_is_accepted(app: TopoLabelApp, tasks: QueuedTasks) -> None:
    """A viewer sends the options that it got, each of them or the list of its choices."""
    config = app.trainers["tubes"].config()
    assert tasks.run("train", {"model": "tubes"}, {**config, "client_id": "Anna"})[0]


def test_the_status_is_that_of_the_unfinished_task_or_else_of_the_last(app: TopoLabelApp, tasks: QueuedTasks) -> None:
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


def test_running_jobs_come_before_waiting_jobs(app: TopoLabelApp, tasks: QueuedTasks) -> None:
    first, second = (tasks.run("train", {"model": "tubes"}, enqueue=True)[0]["id"] for _ in range(2))
    app.queue.jobs.claim(second)
    assert [job.id for job in running_first(app.queue.jobs.list())] == [second, first]
    assert list(app.info()["train_stats"]) == ["tubes"]


def test_stop_ends_the_running_job_and_then_the_waiting_job(app: TopoLabelApp, tasks: QueuedTasks) -> None:
    assert tasks.stop("train") is None
    first, second = (tasks.run("train", {"model": "tubes"}, enqueue=True)[0]["id"] for _ in range(2))
    app.queue.jobs.claim(second)
    stopped = [tasks.stop("train") or {} for _ in range(2)]
    assert [task["id"] for task in stopped] == [second, first]
    assert all(task["status"] == STOPPED for task in stopped) and tasks.stop("train") is None


def test_update_trains_tasks_with_new_labels(
    app: TopoLabelApp, tasks: QueuedTasks, submit_label: Callable[[], object]
) -> None:
    nothing = tasks.update()["tubes"]
    assert nothing["result"] is None and "No label was submitted" in nothing["detail"]
    submit_label()
    submitted = tasks.update({"tubes": {"max_epochs": 2}})["tubes"]
    assert submitted["result"]["status"] == SUBMITTED and submitted["result"]["request"]["max_epochs"] == 2
    again = tasks.update()["tubes"]
    assert again["result"]["id"] == submitted["result"]["id"] and "Already Running" in again["detail"]
    app.queue.jobs.claim(submitted["result"]["id"])
    with record_job(app.ledger, "tubes", submitted["result"]["id"]):
        app.queue.jobs.finish(submitted["result"]["id"], DONE)
    assert tasks.update()["tubes"]["result"] is None, "the label was used by the last training"
    submit_label()
    assert tasks.update()["tubes"]["result"]


@pytest.mark.parametrize("status", [DONE, ERROR])
def test_a_synchronous_request_gets_the_result_or_the_reason(
    app: TopoLabelApp, tasks: QueuedTasks, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(answers, "POLL_SECONDS", 0.02)

    def work() -> None:
        while not (waiting := app.queue.jobs.list(unfinished=True)):
            time.sleep(0.02)
        app.queue.jobs.claim(waiting[0].id)
        app.queue.jobs.finish(waiting[0].id, status, result={"ct_0": 1}, reason="" if status == DONE else "no power")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        if status == DONE:
            assert tasks.run("scoring", {"method": "dice"}, force_sync=True) == ({"ct_0": 1}, None)
        else:
            with pytest.raises(MONAILabelException) as caught:
                tasks.run("scoring", {"method": "dice"}, force_sync=True)
            assert "scoring ERROR: no power" in str(caught.value.msg)
    finally:
        worker.join()


def test_monai_labels_functions_use_the_queue(app: TopoLabelApp, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run", "status", "stop"):
        monkeypatch.setattr(AsyncTask, name, staticmethod(getattr(AsyncTask, name)))
    monkeypatch.setattr(train_routes, "run", train_routes.run)
    route_tasks_to_queue(app)
    task: Any = AsyncTask.run("train", {"model": "tubes"})[0]
    app.queue.jobs.claim(task["id"])
    assert AsyncTask.status("train")[0]["status"] == RUNNING
    stopped: Any = AsyncTask.stop("train")
    assert stopped["id"] == task["id"] and set(train_routes.run()) == {"tubes"}
