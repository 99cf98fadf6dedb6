"""Every page shows the state of a real app folder, escapes names, and also works for an empty app."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from starlette.datastructures import State

from lib.records.ledger import FILE
from lib.server.admin.rendering import PAGES

ADDRESSES = [f"/admin{path}" for path, *_ in PAGES]
HOSTILE = "<img src=x onerror=alert(1)>"


class Structure(HTMLParser):
    """The structure of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def words(text: str) -> str:
    """Return the text of a page without tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_of_an_empty_app_name_the_next_step(browse: TestClient, address: str) -> None:
    answer = browse.get(address)
    assert answer.status_code == 200, answer.text
    assert 'class="empty"' in answer.text


@pytest.mark.parametrize("address", [*ADDRESSES, "/admin/versions/tubes/v3", "/admin/promote/tubes/v3"])
def test_pages_are_complete_escaped_and_load_nothing_from_other_servers(
    lived: Any, browse: TestClient, address: str
) -> None:
    answer = browse.get(address)
    assert answer.status_code == 200, answer.text
    page = Structure(answer.text)
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("nav")) == 1
    assert page.all("html") == [{"lang": "en"}]
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "/admin").startswith(("/admin", "#main")), (tag, attributes)
        assert tag != "img" or attributes.get("alt")
        assert tag not in ("th",) or attributes.get("scope")
        assert tag != "style" and not attributes.get("style"), "the page's policy allows no inline styles"
    assert page.all("script") == ([] if address != "/admin" else page.all("script")[:1])
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and answer.headers["cache-control"] == "no-store"


def test_the_queue_shows_running_waiting_and_ended_jobs(lived: Any, browse: TestClient) -> None:
    queue = lived.app.queue
    running, waiting = (queue.submit("train", "tubes", {}, origin="Anna").id for _ in range(2))
    queue.jobs.claim(running)
    facts = {"fraction": 0.347, "text": "epoch 3/8, loss 0.2", "eta_seconds": 754, "device": "cuda:0"}
    queue.jobs.save_progress(running, facts)
    queue.log(queue.jobs.get(running)).parent.mkdir(parents=True, exist_ok=True)
    queue.log(queue.jobs.get(running)).write_text(f"epoch 2\n{HOSTILE}\n")
    text = browse.get("/admin").text
    page, read = Structure(text), words(text)
    assert page.all("progress")[0]["value"] == "34" and "epoch 3/8, loss 0.2" in read
    assert "12 min 34 s" in read and "cuda:0" in read and "epoch 2" in read and "RuntimeError: no room" in read
    assert "hold: too few" in read and "waiting for your decision: version v3 of tubes" in read
    stops = [a["href"] for a in page.all("a") if (a.get("href") or "").startswith("/admin/stop/")]
    assert stops == [f"/admin/stop/{running}", f"/admin/stop/{waiting}"]
    assert "A training is already in the queue" in read
    live = browse.get("/admin/live").text
    assert Structure(live).tags[0][1]["id"] == "live" and "epoch 3/8" in live and "<html" not in live


def test_versions_are_shown_with_their_scores_and_the_last_decision(lived: Any, browse: TestClient) -> None:
    text = browse.get("/admin/versions").text
    read = words(text)
    assert "0.745 [0.725, 0.765] 3 cases" in read, "the mean over classes of v2 is 0.75, minus 0.005 per case"
    listed = re.findall(r'scope="row"[^>]*><a [^>]*><bdi>(\w+)', text)
    assert listed == ["v3", "v2", "v1"] and "Roll back to v1 …" in read and "v3 by &lt;img" in text
    pictures = [image["src"] or "" for image in Structure(text).all("img")]
    assert len(pictures) == 3 and all(image["loading"] == "lazy" for image in Structure(text).all("img"))
    for source in pictures:
        assert browse.get(source).headers["content-type"] == "image/svg+xml"


def test_a_version_is_compared_with_the_served_version(lived: Any, browse: TestClient) -> None:
    read = words(browse.get("/admin/versions/tubes/v3").text)
    assert "Dice, tube 0.810 [0.770, 0.850] 3 cases 0.760 [0.720, 0.800] 3 cases" in read
    assert "hold by gate" in read


@pytest.mark.parametrize(
    "address", ["/admin/versions/tubes/v9", "/admin/versions/other/v1", "/admin/versions/tubes/-x", "/admin/stop/x"]
)
def test_a_missing_version_is_answered_with_a_page(lived: Any, browse: TestClient, address: str) -> None:
    answer = browse.get(address)
    assert answer.status_code == 404 and "The request was refused" in answer.text and "<h1>" in answer.text


def test_labels_show_findings_and_pictures(lived: Any, browse: TestClient) -> None:
    text = browse.get("/admin/labels").text
    read = words(text)
    assert "STRAY" in read and "a stray voxel" in read and "Remove them." in read and "1 min 35 s" in read
    pictures = [image["src"] or "" for image in Structure(text).all("img")]
    assert len(pictures) == 2 and "image=%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E&label=" in pictures[0]
    only = browse.get("/admin/labels?findings=true").text
    assert "STRAY" in only and len(Structure(only).all("img")) == 1


def test_files_that_are_not_used_as_labels_are_listed_with_reason_and_remedy(
    lived: Any, browse: TestClient, write_nifti: Callable
) -> None:
    assert "not used" not in browse.get("/admin/labels").text
    folder = Path(lived.app.studies) / "labels" / "final"
    write_nifti(lived.make_ct(0)[1] * 9, folder / "ct_0.nii.gz")
    (folder / f"{HOSTILE} 2.nii.gz").write_bytes(b"no image of it")
    store = lived.app.datastore()
    store.final.check_all()
    text = browse.get("/admin/labels").text
    read = words(text)
    assert "2 labels of other programs not used" in read and HOSTILE not in text
    assert "LABEL_VALUES" in read and "1 tube, 2 cavity, 255 ignore" in read and "NO_STUDY" in read
    (folder / "ct_0.nii.gz").touch()
    store.final.check_all(seconds=-1)
    assert "1 label waits for a check" in words(browse.get("/admin/labels").text)


def test_labels_are_shown_page_by_page(history: Any, browse: TestClient) -> None:
    for number in range(30):
        history.app.ledger.append("label", f"study {number:02d}", {"tag": "final", "source": "submitted"})
    seen, address = [], "/admin/labels"
    for _ in range(3):
        text = browse.get(address).text
        seen += re.findall(r"study \d\d(?=</bdi>)", text)
        older = [a["href"] for a in Structure(text).all("a") if "before=" in (a.get("href") or "")]
        address = (older or [""])[0]
    assert seen == [f"study {number:02d}" for number in reversed(range(30))] and not address


def test_annotators_are_shown_with_recorded_values_only(lived: Any, browse: TestClient) -> None:
    text = browse.get("/admin/annotators").text
    read = words(text)
    assert "Anna" in read and "1 min 35 s" in read and "37.9" in read, "one label in 95 s is 37.9 labels per hour"
    assert "The time saved is not measured." in read and "control_share" in read and "&lt;img" in text


def test_leased_studies_are_shown_with_their_annotators(lived: Any, browse: TestClient) -> None:
    assert "At work" not in browse.get("/admin/annotators").text
    lived.app.leases.lease_next(HOSTILE, [HOSTILE])
    lived.app.leases.lease_next("Bert", ["ct_1"])
    text = browse.get("/admin/annotators").text
    assert "Reserved studies 2" in words(text) and "Bert" in text and HOSTILE not in text


def test_the_machine_is_shown(lived: Any, browse: TestClient) -> None:
    read = words(browse.get("/admin/machine").text)
    assert "free of" in read and "monailabel 0.8.5" in read and "This app has no click tasks" in read


def test_files_that_are_no_studies_are_shown_with_the_next_step(lived: Any, browse: TestClient) -> None:
    assert "Left out of the studies" not in browse.get("/admin/machine").text
    for number in range(60):
        (Path(lived.app.studies) / f"{HOSTILE}{number:02d}.csv").write_bytes(b"")
    lived.app.datastore().refresh()
    text = browse.get("/admin/machine").text
    assert "Left out of the studies" in text and "10 more." in text and HOSTILE not in text
    assert "no image in a format that is read here Convert images to one of .nii.gz" in words(text)


def test_forms_contain_the_token_of_the_session(
    lived: Any, browse: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "csrf_token" not in browse.get("/admin").text
    monkeypatch.setattr(Request, "state", State({"csrf": 'a"b'}))
    for address in ("/admin", "/admin/promote/tubes/v3", "/admin/rollback/tubes"):
        inputs = Structure(browse.get(address).text).all("input")
        assert {"type": "hidden", "name": "csrf_token", "value": 'a"b'} in inputs, address


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_damaged_ledger_is_reported_on_the_page(lived: Any, browse: TestClient, address: str) -> None:
    (Path(lived.app.app_dir) / "records" / FILE).write_text("this is no database, and longer than its header" * 100)
    answer = browse.get(address)
    assert answer.status_code == 503 and "ledger verify" in answer.text and "<nav" in answer.text
