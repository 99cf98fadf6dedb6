"""The gate around a small application: which requests pass, which are refused, and that every refusal is logged."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from lib.server.auth.authority import NoAuthAuthority
from lib.server.auth.gate import COOKIE
from tests.server.auth.conftest import ROLES, sign_in

HERE = "http://127.0.0.1:8000"


def refused(answer: Any, status: int, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """Check a refusal and its line in the log."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["reason"] and answer.json()["remedy"]
    assert code in caplog.records[-1].getMessage() and caplog.records[-1].levelname == "WARNING"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("method", "path", "least"),
    [("GET", "/info/", "user"), ("PUT", "/datastore/label", "annotator"), ("POST", "/train/", "admin")],
)
def test_roles(
    local: TestClient, caplog: pytest.LogCaptureFixture, role: str, method: str, path: str, least: str
) -> None:
    answer = local.request(method, path, headers=sign_in(local, role))
    if ROLES.index(role) >= ROLES.index(least):
        assert answer.status_code == 200 and answer.json()["username"] == role
        assert answer.json()["roles"] == [f"monailabel-{each}" for each in ROLES[: ROLES.index(role) + 1]]
    else:
        refused(answer, 403, "ROLE_NEEDED", caplog)
        assert least in answer.json()["reason"] and answer.json()["needed"] == least
        assert role in caplog.records[-1].getMessage() and path in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "NOT_SIGNED_IN"),
        ([("Authorization", "Bearer")], "SESSION_OVER"),
        ([("Authorization", "Bearer guess")], "SESSION_OVER"),
        ([("Authorization", "Basic YWRtaW46YWRtaW4=")], "BAD_TOKEN"),
        ([("Authorization", "")], "BAD_TOKEN"),
        ([("Cookie", f"{COOKIE}=guess")], "SESSION_OVER"),
        ([("Cookie", f"{COOKIE}=")], "NOT_SIGNED_IN"),
        ([("X-Forwarded-User", "admin"), ("Remote-User", "admin")], "NOT_SIGNED_IN"),
    ],
)
def test_without_a_session(
    local: TestClient, caplog: pytest.LogCaptureFixture, headers: list[tuple[str, str]], code: str
) -> None:
    answer = local.get("/info/", headers=headers)
    refused(answer, 401, code, caplog)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_two_authorization_headers_are_refused(local: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    good = sign_in(local, "admin")["Authorization"]
    for second in ("Bearer other", good):
        answer = local.get("/info/", headers=[("Authorization", good), ("Authorization", second)])
        refused(answer, 401, "BAD_TOKEN", caplog)


@pytest.mark.parametrize("key", ["access_token", "token", "Authorization", COOKIE])
def test_a_token_in_the_address_is_ignored_and_not_logged(
    local: TestClient, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    token = sign_in(local, "admin")["Authorization"].split()[1]
    refused(local.get("/info/", params={key: token}), 401, "NOT_SIGNED_IN", caplog)
    assert token not in caplog.text


@pytest.mark.parametrize("path", ["/nowhere", "/info", "/train", "/infer/", "/auth/../info/x", "//info/"])
def test_unknown_addresses_are_reported_to_signed_in_users_only(local: TestClient, path: str) -> None:
    assert local.get(path).status_code == 401
    assert local.get(path, headers=sign_in(local, "user")).status_code in (307, 404, 405)


def test_a_route_without_a_row_is_refused_for_the_admin_too(
    local: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    refused(local.get("/forgotten", headers=sign_in(local, "admin")), 403, "NO_ROLE_SET", caplog)


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "get", "QUERY"])
def test_other_methods_need_sign_in_too(local: TestClient, method: str) -> None:
    assert local.request(method, "/info/").status_code == 401


@pytest.mark.parametrize("address", ["/train/%2e%2e/info/", "/TRAIN/", "/train/;x", "/train//", "/%74rain/"])
def test_no_spelling_of_an_address_lowers_the_role(local: TestClient, address: str) -> None:
    answer = local.post(address, headers=sign_in(local, "user"))
    assert answer.status_code in (400, 403, 404, 405, 307), answer.text


def test_websockets_are_closed(local: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), local.websocket_connect("/info/"):
        pass


@pytest.mark.parametrize(
    ("headers", "through"),
    [
        ({"Origin": HERE}, True),
        ({"Origin": "http://partner.example"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://127.0.0.1:8001"}, False),
        ({"Origin": f"{HERE}.evil.example"}, False),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({}, True),
    ],
)
def test_a_foreign_page_cannot_use_the_session_cookie(
    local: TestClient,
    gated: Callable[..., TestClient],
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    through: bool,
) -> None:
    secret = sign_in(local, "admin")["Authorization"].split()[1]
    client = gated(local.app.state.authority, pages=("http://partner.example",))  # type: ignore[attr-defined]
    answer = client.post("/train/", headers={"Cookie": f"{COOKIE}={secret}", **headers})
    if through:
        assert answer.json()["username"] == "admin"
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "FOREIGN_PAGE")
    assert client.get("/info/", headers={"Cookie": f"{COOKIE}={secret}", **headers}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_a_foreign_page_is_refused_without_sign_in_too(
    gated: Callable[..., TestClient], caplog: pytest.LogCaptureFixture, origin: str
) -> None:
    client = gated(NoAuthAuthority())
    answer = client.post("/train/", headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "FOREIGN_PAGE")
    assert client.post("/train/").json()["username"] == "admin"


def test_a_server_without_sign_in_answers_its_own_machine_only(
    gated: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    for address in ("10.0.0.9", "fe80::1", "testclient"):
        refused(gated(NoAuthAuthority(), address).get("/info/"), 403, "NOT_OPEN", caplog)
        assert gated(NoAuthAuthority(), address, is_open=True).get("/info/").status_code == 200
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        through_a_proxy = gated(NoAuthAuthority()).get("/info/", headers={header: "127.0.0.1"})
        refused(through_a_proxy, 403, "NOT_OPEN", caplog)
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert gated(NoAuthAuthority(), address).get("/info/").status_code == 200


def test_no_password_or_token_is_ever_logged(local: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="lib")
    sent = ["a wrong password", "Bearer-like-secret", "cookie-secret"]
    local.post("/auth/token", data={"username": "admin", "password": sent[0]})
    local.get("/info/", headers={"Authorization": f"Bearer {sent[1]}"})
    local.get("/info/", headers={"Cookie": f"{COOKIE}={sent[2]}"})
    assert len(caplog.records) >= 3 and not any(secret in caplog.text for secret in sent)
