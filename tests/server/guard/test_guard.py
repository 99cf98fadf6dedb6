"""The guard alone, around a small application."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lib.data.findings import Finding, InputRejected
from lib.server.guard import Guard, check_name
from lib.server.refusals import Refused
from lib.tasks.weights import NoWeights


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def fail(request: Request) -> Response:
    errors = {
        "gate": InputRejected(
            [Finding("EMPTY", "Nothing.", "Send more."), Finding("BAD_AFFINE", "Bent.", "Straighten.")]
        ),
        "weights": NoWeights("no weights"),
        "fault": KeyError("a secret path"),
    }
    raise errors[request.path_params["kind"]]


@pytest.fixture
def client() -> TestClient:
    methods = ["GET", "POST", "PUT", "DELETE"]
    routes = [Route("/fail/{kind}", fail), Route("/{rest:path}", echo, methods=methods)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Guard, max_bytes=100)]))


@pytest.mark.parametrize("name", ["ct_1", "1.2.840.113", "New study (2)", "ü", "a..b", "x" * 200])
def test_names_of_a_store(name: str) -> None:
    check_name(name, "image")


@pytest.mark.parametrize(
    "name", ["", "..", ".hidden", "../x", "a/b", "a\\b", "C:x", "a\nb", "a\x00", "/etc/passwd", "x" * 201]
)
def test_paths_are_no_names(name: str) -> None:
    with pytest.raises(Refused, match="BAD_NAME"):
        check_name(name, "image")


@pytest.mark.parametrize(
    ("method", "address", "code"),
    [
        ("GET", "/datastore/image?image=..%2Fx", "BAD_NAME"),
        ("PUT", "/datastore/label?image=a&tag=..%2F..", "BAD_NAME"),
        ("GET", "/x?session_id=%2Fetc", "BAD_NAME"),
        ("GET", "/proxy/%252e%252e/system", "BAD_PATH"),
        ("GET", "/proxy/..%5Csystem", "BAD_PATH"),
        ("PUT", "/model/a", "MODEL_READ_ONLY"),
        ("DELETE", "/model/a/", "MODEL_READ_ONLY"),
        ("PUT", "/session/?uncompress=1", "NO_ARCHIVES"),
        ("POST", "/infer/wsi/tubes", "NOT_OFFERED"),
        ("POST", "/infer/wsi_v2/tubes", "NOT_OFFERED"),
        ("POST", "/reload", "NOT_OFFERED"),
    ],
)
def test_refuses_before_the_application_runs(client: TestClient, method: str, address: str, code: str) -> None:
    answer = client.request(method, address)
    assert 400 <= answer.status_code < 500 and answer.json()["code"] == code and answer.json()["remedy"]


@pytest.mark.parametrize("address", ["/model/a", "/infer/wsi2", "/x?image=a.b&uncompress=false", "/..hidden/x"])
def test_lets_the_rest_pass(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 200


def test_size_is_limited_announced_or_not(client: TestClient) -> None:
    assert client.post("/x", content=b"a" * 100).text == "100"
    for content in (b"a" * 101, iter([b"a" * 60, b"a" * 60])):
        answer = client.post("/x", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "TOO_LARGE")


def test_every_finding_is_told(client: TestClient) -> None:
    body = client.get("/fail/gate").json()
    assert (body["code"], [finding["code"] for finding in body["findings"]]) == ("EMPTY", ["EMPTY", "BAD_AFFINE"])


def test_a_fault_tells_an_id_and_no_more(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/fail/fault")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["id"] in caplog.text and "a secret path" in caplog.text


def test_missing_weights_are_no_fault(client: TestClient) -> None:
    assert (client.get("/fail/weights").status_code, client.get("/fail/weights").json()["code"]) == (503, "NO_WEIGHTS")
