"""A real server with a users file: MONAI Label's own client signs in, works, and is refused above its role."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from lib.jobs.queue.broker import Queue
from lib.records.ledger import Ledger
from lib.server.auth.gate import COOKIE
from lib.server.auth.roles import TABLE, Role
from lib.server.auth.users import add_user, remove_user
from tests.server.auth.conftest import PASSWORD, ROLES
from tests.server.auth.test_roles import scope_of

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def signed_in(guarded: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], MONAILabelClient]:
    """Return a function that makes MONAI Label's client as Slicer's plugin uses it, signed in under a name."""
    folder = tmp_path_factory.mktemp("downloads")

    def made(name: str) -> MONAILabelClient:
        client = MONAILabelClient(guarded.url, tmpdir=str(folder), client_id="another user")
        assert client.auth_enabled() and not client.auth_valid_token()
        client.update_auth(client.auth_token(name, PASSWORD))
        assert client.auth_valid_token()
        return client

    return made


def test_an_annotator_works_and_an_admin_trains(
    guarded: Any, signed_in: Callable, make_ct: Callable, write_nifti: Callable, tmp_path: Path
) -> None:
    annotator = signed_in("annotator")
    assert annotator.info()["models"] and annotator.next_sample("random", {})["id"]
    file, params = annotator.infer("tubes", "ct_0", {"result_extension": ".nrrd"})
    assert Path(file).stat().st_size and params["version"]
    label = write_nifti(make_ct(0)[1], tmp_path / "label.nii.gz")
    annotator.save_label("ct_0", str(label), "final", {"user": "admin", "seconds": 3})
    assert Ledger.of(guarded.app).rows("label", "ct_0")[-1].body["who"] == "annotator", (
        "params cannot name another user"
    )
    with pytest.raises(MONAILabelClientException, match=r"403.*needs the role admin"):
        annotator.train_start("tubes", {"max_epochs": 1})
    assert annotator.train_status(check_if_running=True) is False

    admin = signed_in("admin")
    assert admin.train_start("tubes", {"max_epochs": 1})["id"]
    assert Queue(guarded.app).jobs.list()[-1].origin == "admin", "params cannot name another user"
    admin.train_stop()
    with pytest.raises(MONAILabelClientException, match="401"):
        annotator.auth_token("annotator", "a wrong password")
    log = guarded.log.read_text()
    assert "ROLE_NEEDED" in log and "WRONG_PASSWORD" in log and PASSWORD not in log and "a wrong password" not in log


def ask(server: Any, row: str, headers: dict[str, str]) -> int:
    # Sent as by a proxy, since some rows need no sign-in for local requests. A redirect would lead to another row.
    headers = headers | {"Via": "1.1 proxy"}
    url = f"{server.url}{scope_of(row)['path']}"
    return requests.request(row.split()[0], url, headers=headers, timeout=30, allow_redirects=False).status_code


@pytest.fixture(scope="module")
def tokens(signed_in: Callable) -> dict[str, dict[str, str]]:
    return {role: dict(signed_in(role)._headers) for role in ROLES}


# The guard refuses these before the gate checks the role.
REFUSED_FOR_EVERY_ROLE = {"PUT /model/{model}", "DELETE /model/{model}"} | {
    row for row in TABLE if " /proxy/{path}" in row
}


def test_each_row_refuses_those_below_its_role(guarded: Any, tokens: dict[str, dict[str, str]]) -> None:
    for row in TABLE.keys() - REFUSED_FOR_EVERY_ROLE:
        role = TABLE[row]
        if role > Role.ANYONE:
            assert ask(guarded, row, {}) == 401, row
            assert ask(guarded, row, {"Authorization": "Bearer guess"}) == 401, row
        below = [name for name in ROLES if Role[name.upper()] < role]
        assert [ask(guarded, row, tokens[name]) for name in below] == [403] * len(below), row


READING = [row for row in TABLE if row.startswith(("GET", "HEAD")) and "/proxy/" not in row]


@pytest.mark.parametrize("row", READING)
def test_each_row_for_reading_admits_its_role(guarded: Any, tokens: dict[str, dict[str, str]], row: str) -> None:
    headers = tokens[max(TABLE[row], Role.USER).name.lower()]
    assert ask(guarded, row, headers) not in (401, 403), row


def test_a_removed_user_is_signed_out_at_once(guarded: Any, signed_in: Callable) -> None:
    path = guarded.app.parent / "users.toml"
    add_user(path, "leaving", PASSWORD, "annotator")
    client = signed_in("leaving")
    remove_user(path, "leaving")
    assert not client.auth_valid_token()
    with pytest.raises(MONAILabelClientException, match="401"):
        client.info()


def signed_in_browser(server: Any, name: str) -> requests.Session:
    """Sign in on the login page."""
    browser = requests.Session()
    browser.headers.update({"Accept": "text/html", "Origin": server.url})
    led = browser.get(f"{server.url}/ohif/", timeout=10)
    assert led.url.endswith("/login?next=/ohif/")
    csrf = led.text.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"csrf_token": csrf, "name": name, "password": PASSWORD, "next": "/ohif/"}
    viewer = browser.post(f"{server.url}/login", data=form, timeout=30)
    assert viewer.ok and "OHIF" in viewer.text and COOKIE in browser.cookies
    return browser


def test_a_browser_signs_in_and_the_viewer_uses_its_cookie(guarded: Any) -> None:
    browser = signed_in_browser(guarded, "annotator")
    assert browser.post(f"{guarded.url}/infer/tubes?image=ct_0&output=json", timeout=60).ok
    foreign = browser.post(
        f"{guarded.url}/infer/tubes?image=ct_0&output=json", headers={"Origin": "http://evil.example"}, timeout=60
    )
    assert foreign.status_code == 403


def test_an_admins_form_needs_the_sessions_token(guarded: Any) -> None:
    browser = signed_in_browser(guarded, "admin")
    page = browser.get(f"{guarded.url}/admin", timeout=10)
    assert page.ok and 'name="csrf_token"' in page.text
    token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    for sent, status in (("", 403), ("0" * 64, 403), (token, 303)):
        answer = browser.post(
            f"{guarded.url}/admin/train", data={"csrf_token": sent}, timeout=10, allow_redirects=False
        )
        assert answer.status_code == status, answer.text


def test_a_reviewer_reads_the_queue_and_has_no_actions(guarded: Any) -> None:
    browser = signed_in_browser(guarded, "reviewer")
    queue = browser.get(f"{guarded.url}/admin", timeout=10)
    assert queue.ok and "<form" not in queue.text and "/admin/annotators" not in queue.text
    assert "reviewer</bdi>" in queue.text and "Sign out" in queue.text
    assert browser.get(f"{guarded.url}/admin/versions", timeout=10).ok
    assert browser.post(f"{guarded.url}/admin/train", timeout=10).status_code == 403
    page = browser.get(f"{guarded.url}/admin/annotators", headers={"Accept": "text/html"}, timeout=10)
    assert page.status_code == 403 and page.headers["content-type"].startswith("text/html")
    assert "needs the role admin" in page.text and "Sign out" in page.text
    answer = browser.get(f"{guarded.url}/admin/annotators", headers={"Accept": "application/json"}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (403, "ROLE_NEEDED")


def test_a_user_cannot_save_a_label_through_inference(guarded: Any, tokens: dict[str, dict[str, str]]) -> None:
    url, data = f"{guarded.url}/infer/tubes?image=ct_1&output=json", {"params": '{"save_label": true}'}
    refused = requests.post(url, data=data, headers=tokens["user"], timeout=60)
    assert (refused.status_code, refused.json()["code"]) == (403, "ROLE_NEEDED")
    assert requests.post(url, headers=tokens["user"], timeout=60).ok
    assert requests.post(url, data=data, headers=tokens["annotator"], timeout=60).ok


def test_secrets_in_an_address_are_not_logged(guarded: Any, wait: Callable) -> None:
    requests.get(f"{guarded.url}/info/?access_token=a-secret-token&x=1&Session_ID=another-secret", timeout=10)
    # The line is written after the answer is sent.
    wait(lambda: "access_token=..." in guarded.log.read_text(), 30, "the line of the request")
    log = guarded.log.read_text()
    assert "a-secret-token" not in log and "another-secret" not in log
