"""Tables of attacks on one real server: none succeeds, none causes a server fault, and all are in the log."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.server.attacks.files import files, nifti
from tests.server.attacks.tables import (
    CHANGES,
    FOREIGN,
    HOSTS,
    MESSAGES,
    NOT_OFFERED,
    PARAMS,
    PATH_DOORS,
    QUERY_DOORS,
    TRAVERSALS,
)
from tests.server.attacks.wire import FORM, SECRET, Answer, exchange, form, logged, send, tail

pytestmark = pytest.mark.server
FILE_DOORS = {
    "image": ("PUT", "/datastore/image?image=attack", "file"),
    "label": ("PUT", "/datastore/label?image=ct_0&tag=attack", "label"),
    "session": ("PUT", "/session/", "files"),
    "infer": ("POST", "/infer/tubes?output=json", "file"),
}
FILES = files("/nowhere")


@pytest.fixture(scope="module")
def canary(server: Any) -> Path:
    """Return a readable image outside the store, and one to which a link in the store points."""
    secret = server.studies.parent / "secret.nii"
    secret.write_bytes(nifti(SECRET.encode().ljust(128, b"\0")))
    (server.studies / "linked.nii").symlink_to(secret)
    (server.studies / "passwd.nii").symlink_to("/etc/passwd")
    return secret


@pytest.fixture(scope="module", autouse=True)
def unharmed(server: Any, canary: Path) -> Iterator[None]:
    """Check after all tests that files outside and inside the store are unchanged and the server answers."""
    before, content = outside(server), {path: path.read_bytes() for path in [canary, *server.studies.glob("ct_*")]}
    yield
    assert outside(server) == before
    assert {path: path.read_bytes() for path in content} == content
    assert requests.get(f"{server.url}/info/", timeout=10).json()["models"]["tubes"]
    assert requests.post(f"{server.url}/infer/tubes?image=ct_0&output=json", timeout=60).ok
    assert not list((server.studies / "labels").glob("attack*")) and not list(server.studies.glob("attack*"))
    assert "fault " not in tail(server.log), "no attack caused a server fault"
    for link in ("linked.nii", "passwd.nii"):
        (server.studies / link).unlink()


def outside(server: Any) -> set[Path]:
    """Return the files around the store and the app, and in the folder that an escape would reach."""
    around = server.studies.parent
    return {path for folder in (around, around.parent, server.app) for path in folder.iterdir()}


def refused(server: Any, answer: Answer, *, by_us: bool = True) -> None:
    """Fail unless an attack was refused with a reason, revealed nothing, and is in the log."""
    assert 400 <= answer.status < 500, (answer.sent, answer.status, answer.text[:300])
    assert SECRET not in answer.text and "root:" not in answer.text
    if by_us:
        assert f"x-request-id: {answer.request_id}" in answer.head.lower()
        assert logged(server, answer.request_id), tail(server.log)[-2000:]
    if by_us and answer.body:
        body = json.loads(answer.body)
        assert body["code"] and body["reason"] and body["remedy"] and body["request_id"] == answer.request_id


def body_for(method: str, target: str) -> tuple[list[str], bytes]:
    """Return a body that the route would accept with a valid name."""
    image = nifti(np.random.default_rng(0).integers(-1000, 1000, 64).astype("<i2").tobytes())
    if method == "PUT" and "/info" not in target:
        return [FORM], form(("file", "a.nii", image), ("label", "a.nii", image), ("files", "a.nii", image))
    if method == "PUT":
        return ["Content-Type: application/x-www-form-urlencoded"], b"info=%7B%7D"
    return [], b""


@pytest.mark.parametrize(("method", "door"), QUERY_DOORS, ids=str)
def test_bad_names_in_queries_are_refused(server: Any, method: str, door: str) -> None:
    for name in TRAVERSALS:
        target = door.format(name)
        refused(server, send(server, method, target, *body_for(method, target)))


@pytest.mark.parametrize(("method", "door"), PATH_DOORS, ids=str)
def test_bad_names_in_paths_are_refused(server: Any, method: str, door: str) -> None:
    for name in TRAVERSALS:
        answer = send(server, method, door.format(name))
        if door.startswith("/ohif") and answer.status == 200:
            # For unknown addresses the viewer answers with its start page.
            assert "<title>OHIF" in answer.text
        else:
            refused(server, answer)


@pytest.mark.parametrize(("method", "target"), NOT_OFFERED, ids=str)
def test_routes_that_are_not_offered_are_refused(server: Any, method: str, target: str) -> None:
    refused(server, send(server, method, target), by_us=method != "CONNECT")


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(("method", "target"), CHANGES, ids=str)
def test_pages_of_other_sites_change_nothing(server: Any, method: str, target: str, headers: list[str]) -> None:
    answer = send(server, method, target, headers)
    refused(server, answer)
    assert json.loads(answer.body)["code"] == "FOREIGN_PAGE"
    assert "access-control-allow-origin" not in answer.head.lower()


@pytest.mark.parametrize("host", HOSTS)
def test_foreign_host_names_are_refused(server: Any, host: str) -> None:
    answer = send(server, "GET", "/info/", host=host)
    refused(server, answer)
    assert json.loads(answer.body)["code"] == "UNKNOWN_HOST"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("door", FILE_DOORS)
def test_files(server: Any, canary: Path, door: str, kind: str) -> None:
    (method, target, field), (name, content) = FILE_DOORS[door], files(str(canary))[kind]
    answer = send(server, method, target, [FORM], form((field, name, content)))
    refused(server, answer)
    assert answer.status in (400, 413, 415, 422), answer.text


@pytest.mark.parametrize("params", PARAMS, ids=lambda text: ascii(text)[:40])
def test_params(server: Any, params: str) -> None:
    body = form(("params", None, params.encode()))
    refused(server, send(server, "POST", "/infer/tubes?image=ct_0&output=json", [FORM], body))


@pytest.mark.parametrize("route", ["/train/tubes", "/scoring/dice", "/batch/infer/tubes", "/activelearning/random"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", "{"),
        ("application/json", "[]"),
        ("application/json", '{"a": NaN}'),
        ("application/json", '{"a": "\\u0000"}'),
        ("application/json", "[" * 90_000),
        ("application/json", "9" * 6000),
        ("application/json", '{"a": "' + "x" * (2 << 20) + '"}'),
        ("application/json; charset=utf-7", "+AHsAfQ-"),
        ("application/xml", "<a/>"),
        ("text/html", "<a>"),
        ("application/x-python-pickle", "cos\nsystem\n(S'id'\ntR."),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_bodies(server: Any, route: str, kind: str, body: str) -> None:
    refused(server, send(server, "POST", route, [f"Content-Type: {kind}"], body.encode()))


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Type: multipart/form-data"], b"x"),
        (["Content-Type: multipart/form-data; boundary="], b"x"),
        (["Content-Type: multipart/form-data; boundary=" + "x" * 3000], b"x"),
        ([FORM], b"--cut-here\r\n\r\n"),
        ([FORM], b"x" * 5000),
        ([FORM], form(*[("params", None, b"x")] * 40)),
        ([FORM], form(("params", None, b"{" + b" " * (2 << 20)))),
        ([FORM], form(("params", "a.nii", b"{}"))),
        ([FORM], form(("file", None, b"no file"))),
        ([FORM], form(("file", "a.nii", nifti()), ("label", "../../x.bin", b"x"))),
        (["Content-Type: application/x-www-form-urlencoded"], b"params=" + b"x" * (2 << 20)),
        (["Content-Type: image/png"], b"\x89PNG"),
    ],
    ids=lambda part: ascii(part)[:40],
)
def test_forms(server: Any, headers: list[str], body: bytes) -> None:
    refused(server, send(server, "POST", "/infer/tubes?output=json", headers, body))


@pytest.mark.parametrize("name", ["linked", "passwd"])
@pytest.mark.parametrize(("method", "door"), [*QUERY_DOORS[:2], ("POST", "/infer/tubes?image={}")], ids=str)
def test_links_that_lead_out_of_the_store_are_not_followed(
    server: Any, canary: Path, method: str, door: str, name: str
) -> None:
    listed = requests.get(f"{server.url}/datastore/?output=all", timeout=10).json()["objects"]
    assert name not in listed and "ct_0" in listed
    refused(server, send(server, method, door.format(name)))


@pytest.mark.parametrize("kind", MESSAGES)
def test_broken_messages(server: Any, kind: str) -> None:
    answer = exchange(server, MESSAGES[kind].format(f"127.0.0.1:{server.port}").encode("latin-1"), and_no_more=True)
    if answer.status:
        assert 400 <= answer.status < 500, (answer.head, answer.text[:300])
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "given",
    ["x\tforged", "[2026-01-01] [INFO] ok", "a" * 500, "\u2028forged line", "'; DROP TABLE jobs; --", "<script>"],
)
def test_the_log_is_not_forged(server: Any, given: str) -> None:
    answer = send(server, "GET", "/info/?image=%0a[2026]%20forged%0d&x=" + "%0d%0aforged", [f"X-Request-ID: {given}"])
    assert answer.status == 400
    for line in tail(server.log).splitlines():
        assert not line.startswith(("[2026] forged", "forged", "[2026-01-01]"))


def test_a_range_of_many_parts_does_not_enlarge_the_answer(server: Any) -> None:
    ranges = ",".join(f"{n}-" for n in range(0, 800))
    answer = send(server, "GET", "/datastore/image?image=ct_0", [f"Range: bytes={ranges}"])
    size = (server.studies / "ct_0.nii.gz").stat().st_size
    assert answer.status in (200, 206, 400, 416) and len(answer.body) < 3 * size


def test_slow_senders_do_not_block_other_clients(server: Any) -> None:
    slow = []
    for _ in range(50):
        wire = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        wire.sendall(
            b"PUT /session/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n" + FORM.encode() + b"\r\n\r\nx"
        )
        slow.append(wire)
    assert requests.get(f"{server.url}/info/", timeout=5).ok
    for wire in slow:
        wire.close()
