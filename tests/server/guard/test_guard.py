"""The guard alone, around a small application."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lib.data.findings import Finding, InputRejected
from lib.server.guard import Guard
from lib.server.guard.origins import Origins
from lib.server.guard.rates import Rates
from lib.tasks.serving.weights import NoWeights


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
        ("GET", "/" + "x" * 3000, "ADDRESS_TOO_LONG"),
    ],
)
def test_refuses_before_the_application_runs(client: TestClient, method: str, address: str, code: str) -> None:
    answer = client.request(method, address)
    assert 400 <= answer.status_code < 500 and answer.json()["code"] == code and answer.json()["remedy"]


@pytest.mark.parametrize("address", ["/model/a", "/infer/wsi2", "/x?image=a.b&uncompress=false", "/..hidden/x"])
def test_other_requests_pass(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 200


def test_size_is_limited_with_and_without_content_length(client: TestClient) -> None:
    assert client.post("/x", content=b"a" * 100).text == "100"
    for content in (b"a" * 101, iter([b"a" * 60, b"a" * 60])):
        answer = client.post("/x", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "TOO_LARGE")


def test_a_refusal_lists_every_finding(client: TestClient) -> None:
    body = client.get("/fail/gate").json()
    assert (body["code"], [finding["code"] for finding in body["findings"]]) == ("EMPTY", ["EMPTY", "BAD_AFFINE"])


def test_a_fault_reveals_only_its_id(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/fail/fault")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["id"] in caplog.text and "a secret path" in caplog.text


def test_missing_weights_are_refused_and_no_server_fault(client: TestClient) -> None:
    assert (client.get("/fail/weights").status_code, client.get("/fail/weights").json()["code"]) == (503, "NO_WEIGHTS")


def test_foreign_names_pages_and_too_many_requests() -> None:
    app = Starlette(routes=[Route("/{rest:path}", echo, methods=["GET", "POST"])])
    guarded = TestClient(Guard(app, origins=Origins(hosts=("testserver",)), rates=Rates({"rest": "3/hour"})))
    assert guarded.get("/x", headers={"Host": "evil.example"}).json()["code"] == "UNKNOWN_HOST"
    assert guarded.post("/x", headers={"Origin": "http://evil.example"}).json()["code"] == "FOREIGN_PAGE"
    assert guarded.post("/x", headers={"Origin": "http://testserver"}).status_code == 200
    answer = guarded.get("/x")
    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_REQUESTS") and answer.headers["retry-after"]
