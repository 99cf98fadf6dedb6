"""Pages below any root path, and refusals and faults as pages."""

import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient

from lib.server.admin.rendering import PageRoute, refusing, render
from lib.server.refusals import Refused


@pytest.fixture
def client() -> TestClient:
    router = APIRouter(route_class=PageRoute)

    @router.get("/page")
    def page(request: Request) -> HTMLResponse:
        return render(request, "refused.html", refused={"code": "NONE", "reason": "<i>", "remedy": ""})

    @router.get("/raise/{what}")
    def fail(what: str) -> None:
        with refusing(409, "WORDS"):
            if what == "words":
                raise ValueError("no <b>such</b> thing")
        raise {"refused": Refused(418, "TEAPOT", "It is one.", "Drink."), "role": HTTPException(403, "no")}[what]

    web = FastAPI()
    web.include_router(router)
    return TestClient(web, root_path="/imaging/label", raise_server_exceptions=False)


def test_addresses_include_the_root_path_of_a_proxy(client: TestClient) -> None:
    text = client.get("/page").text
    assert 'href="/imaging/label/admin/versions"' in text and 'href="/admin' not in text
    assert "&lt;i&gt;" in text and "<i>" not in text


@pytest.mark.parametrize(
    ("what", "status", "text"),
    [("words", 409, "No &lt;b&gt;such&lt;/b&gt; thing."), ("refused", 418, "It is one."), ("fault", 500, "INTERNAL")],
)
def test_a_refusal_is_a_page(client: TestClient, what: str, status: int, text: str) -> None:
    answer = client.get(f"/raise/{what}")
    assert answer.status_code == status and text in answer.text and answer.text.startswith("<!doctype html>")
    assert answer.headers["content-security-policy"]


def test_access_errors_are_not_answered_by_the_page_route(client: TestClient) -> None:
    assert client.get("/raise/role").json() == {"detail": "no"}
