"""The actions of an admin: confirmed on a page, and run by the functions of the command line."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lib.jobs.queue.job import STOPPED, SUBMITTED
from lib.records.versions import find_version
from lib.server.admin.actions import NOTICES
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import open_task_versions


def served(history: Any) -> str:
    return open_task_versions(history.app.app_dir, history.app.spec.tasks[0]).served


def test_a_promotion_is_confirmed_and_then_done(
    lived: Any, browse: TestClient, last_decision: Callable[[], dict]
) -> None:
    text = browse.get("/admin/promote/tubes/v3").text
    assert "<bdi>v2</bdi>" in text and 'name="served" value="v2"' in text and "too few" not in text
    assert "0.795 [0.775, 0.815]" in text and served(lived) == "v2", "a GET changes nothing"
    answer = browse.post("/admin/promote/tubes/v3", data={"served": "v2"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/versions?done=promoted")
    assert served(lived) == "v3"
    assert (last_decision()["verdict"], last_decision()["by"]) == ("promote", "admin")
    assert NOTICES["promoted"] in browse.get(answer.headers["location"]).text


def test_a_rollback_is_confirmed_and_then_done(
    lived: Any, browse: TestClient, last_decision: Callable[[], dict]
) -> None:
    assert "Served after the change</span> <bdi>v1</bdi>" in browse.get("/admin/rollback/tubes").text
    assert browse.post("/admin/rollback/tubes", data={"served": "v2"}).status_code == 303
    assert served(lived) == "v1" and last_decision()["verdict"] == "rollback"
    assert browse.post("/admin/rollback/tubes", data={"served": "v1"}).status_code == 303
    nothing = browse.get("/admin/rollback/tubes")
    assert nothing.status_code == 404 and "Nothing was served before starter" in nothing.text
    assert "Roll back" not in browse.get("/admin/versions").text


@pytest.mark.parametrize("address", ["/admin/promote/tubes/v3", "/admin/rollback/tubes"])
def test_a_decision_made_meanwhile_is_not_overwritten(lived: Any, browse: TestClient, address: str) -> None:
    promote(lived.app.app_dir, "tubes", "v1", by="Anna")
    answer = browse.post(address, data={"served": "v2"})
    assert answer.status_code == 409 and "The served version is now v1" in answer.text and served(lived) == "v1"


@pytest.mark.parametrize(("task", "name"), [("tubes", "v9"), ("other", "v1"), ("tubes", "starter"), ("tubes", "-x")])
def test_only_existing_versions_are_promoted(lived: Any, browse: TestClient, task: str, name: str) -> None:
    assert browse.get(f"/admin/promote/{task}/{name}").status_code == 404
    assert browse.post(f"/admin/promote/{task}/{name}", data={"served": "v2"}).status_code == 409
    assert served(lived) == "v2"


def test_a_version_with_changed_files_is_not_promoted(lived: Any, browse: TestClient) -> None:
    place = open_task_versions(lived.app.app_dir, lived.app.spec.tasks[0])
    card = find_version(place.root, "v3").path / "card.json"
    card.write_text(card.read_text() + " ")
    answer = browse.post("/admin/promote/tubes/v3", data={"served": "v2"})
    assert answer.status_code == 409 and "is not as it was recorded" in answer.text and served(lived) == "v2"


def test_a_form_without_the_served_version_is_refused(lived: Any, browse: TestClient) -> None:
    assert browse.post("/admin/promote/tubes/v3").status_code == 422 and served(lived) == "v2"


def test_a_get_stops_no_job_and_a_post_stops_it(history: Any, browse: TestClient) -> None:
    job = history.app.queue.submit("train", "tubes", {}, origin="Anna").id
    assert "Stop train" in browse.get(f"/admin/stop/{job}").text
    assert history.app.queue.jobs.get(job).status == SUBMITTED
    answer = browse.post(f"/admin/stop/{job}")
    assert answer.status_code == 303 and history.app.queue.jobs.get(job).status == STOPPED
    assert NOTICES["stopped"] in browse.get(answer.headers["location"]).text
    for again in (browse.get(f"/admin/stop/{job}"), browse.post(f"/admin/stop/{job}")):
        assert again.status_code == 409 and "ended already: " in again.text.lower()


def test_tasks_with_new_labels_are_trained_once(history: Any, browse: TestClient) -> None:
    nothing = browse.post("/admin/train")
    assert nothing.headers["location"] == "/admin?done=nothing" and history.app.queue.jobs.list() == []
    history.save("ct_0", user="Anna")
    for _ in range(2):
        assert browse.post("/admin/train").headers["location"] == "/admin?done=queued"
    (job,) = history.app.queue.jobs.list()
    assert (job.kind, job.subject, job.origin, job.status) == ("train", "tubes", "admin", SUBMITTED)


def test_a_named_task_is_trained_without_new_labels(history: Any, browse: TestClient) -> None:
    assert browse.post("/admin/train", data={"model": "tubes"}).headers["location"] == "/admin?done=queued"
    again = browse.post("/admin/train", data={"model": "tubes"})
    assert again.status_code == 409 and "Already Running" in again.text
    unknown = browse.post("/admin/train", data={"model": "other"})
    assert unknown.status_code == 409 or unknown.status_code == 400
    assert len(history.app.queue.jobs.list()) == 1


def test_only_known_notices_are_shown(browse: TestClient) -> None:
    assert "Call this number" not in browse.get("/admin?done=Call this number").text
