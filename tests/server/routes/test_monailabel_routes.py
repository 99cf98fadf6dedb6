"""MONAI Label's own routes in threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from lib.server.guard import Guard
from lib.server.routes import monailabel_routes


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    router = APIRouter(prefix="/their")

    @router.get("/thread")
    async def thread() -> str:
        time.sleep(0.2)
        return threading.current_thread().name

    @router.post("/params/{model}")
    async def params(model: str, params: dict | None = None, run_sync: bool | None = False) -> dict:
        time.sleep(0.1 if run_sync else 0)
        return {"model": model, "params": params}

    @router.get("/mine")
    async def mine() -> str:
        return "monailabel"

    module = type("module", (), {"router": router})
    monkeypatch.setattr(monailabel_routes, "KEPT_MODULES", [module])
    own = APIRouter()
    own.add_api_route("/their/mine", lambda: "own", methods=["GET"])
    app = FastAPI(middleware=[Middleware(Guard)])
    app.include_router(own)
    app.include_router(monailabel_routes.remaining_routes([own]))
    return TestClient(app)


def test_blocking_code_does_not_run_in_the_event_loop(client: TestClient) -> None:
    start = time.monotonic()
    with client, ThreadPoolExecutor(4) as pool:
        names = [each.json() for each in pool.map(client.get, ["/their/thread"] * 4)]
    assert time.monotonic() - start < 0.7, "the requests ran at the same time"
    assert threading.main_thread().name not in names


def test_own_routes_replace_monai_labels_routes(client: TestClient) -> None:
    assert client.get("/their/mine").json() == "own"


@pytest.mark.parametrize(
    ("address", "body", "code"),
    [
        ("/their/params/.hidden", "{}", "BAD_NAME"),
        ("/their/params/a:b", "{}", "BAD_NAME"),
        ("/their/params/a", '{"x": NaN}', "BAD_PARAMS"),
        ("/their/params/a", '{"x": "\\u0000"}', "BAD_PARAMS"),
    ],
)
def test_values_are_checked(client: TestClient, address: str, body: str, code: str) -> None:
    answer = client.post(address, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_valid_values_are_passed_on(client: TestClient) -> None:
    assert client.post("/their/params/a b", json={"x": 1}).json() == {"model": "a b", "params": {"x": 1}}


def test_only_a_few_requests_wait_for_the_end_of_a_job(client: TestClient) -> None:
    with client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/their/params/a?run_sync=true"), range(8)))
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) == 4 and codes.count(503) == 4


def test_an_endpoint_that_awaits_is_a_fault_and_does_not_hang() -> None:
    async def waits() -> None:
        import asyncio

        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits"):
        monailabel_routes._run_without_loop(waits, {})
