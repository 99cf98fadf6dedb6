"""MONAI Label's routes in threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from lib.server.guard import Guard
from lib.server.routes import theirs


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
        return "theirs"

    module = type("module", (), {"router": router})
    monkeypatch.setattr(theirs, "STAYING", [module])
    ours = APIRouter()
    ours.add_api_route("/their/mine", lambda: "ours", methods=["GET"])
    app = FastAPI(middleware=[Middleware(Guard)])
    app.include_router(ours)
    app.include_router(theirs.routes_beside([ours]))
    return TestClient(app)


def test_blocking_code_is_not_in_the_loop(client: TestClient) -> None:
    start = time.monotonic()
    with client, ThreadPoolExecutor(4) as pool:
        names = [each.json() for each in pool.map(client.get, ["/their/thread"] * 4)]
    assert time.monotonic() - start < 0.7, "they slept at the same time"
    assert threading.main_thread().name not in names


def test_ours_come_instead(client: TestClient) -> None:
    assert client.get("/their/mine").json() == "ours"


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


def test_values_go_through(client: TestClient) -> None:
    assert client.post("/their/params/a b", json={"x": 1}).json() == {"model": "a b", "params": {"x": 1}}


def test_few_wait_for_the_end_of_a_job(client: TestClient) -> None:
    with client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/their/params/a?run_sync=true"), range(8)))
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) == 4 and codes.count(503) == 4


def test_what_really_waits_is_a_fault_and_no_hang() -> None:
    async def waits() -> None:
        import asyncio

        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits"):
        theirs._finished(waits, {})
