"""Sign-in and sign-out of viewers and browsers."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lib.server.auth.authority import LocalUsersAuthority, NoAuthAuthority
from lib.server.auth.gate import COOKIE
from lib.server.auth.users import UsersFile, remove_user
from tests.server.auth.conftest import PASSWORD, sign_in

HERE = "http://127.0.0.1:8000"
PAGE = {"Accept": "text/html,application/xhtml+xml", "Origin": HERE}


def form(client: TestClient, path: str = "/login") -> str:
    """Load the page and return its form's token."""
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', client.get(path, headers=PAGE).text)
    assert found
    return found[1]


def browse_in(client: TestClient, name: str, password: str = PASSWORD, **fields: str):
    data = {"csrf_token": form(client), "name": name, "password": password} | fields
    return client.post("/login", data=data, headers=PAGE)


def test_the_viewers_way_in(local: TestClient) -> None:
    assert local.get("/auth/").json() == {"enabled": True, "client_id": "", "realm": ""}
    assert local.get("/auth/token/valid").status_code == 401
    valid = local.get("/auth/token/valid", headers=sign_in(local, "annotator"))
    assert valid.json() == {
        "username": "annotator",
        "email": None,
        "name": None,
        "roles": ["monailabel-user", "monailabel-annotator"],
    }


def test_viewers_are_informed_that_sign_in_is_disabled(gated: Callable[..., TestClient]) -> None:
    client = gated(NoAuthAuthority())
    assert client.get("/auth/").json()["enabled"] is False
    assert client.post("/auth/token", data={"username": "a", "password": "b"}).json()["access_token"] is None
    assert client.get("/auth/token/valid").json()["username"] == "admin"
    assert "does not require sign-in" in client.get("/login").text


def test_a_wrong_password_is_refused(local: TestClient) -> None:
    answer = local.post("/auth/token", data={"username": "admin", "password": "x"})
    assert (answer.status_code, answer.json()["code"]) == (401, "WRONG_PASSWORD")


def test_guesses_are_delayed(local: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answers = [local.post("/auth/token", data={"username": "admin", "password": "x"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 429]
    assert int(answers[-1].headers["retry-after"]) > 0 and "TOO_MANY_TRIES" in caplog.text
    assert local.post("/auth/token", data={"username": "admin", "password": PASSWORD}).status_code == 429
    page = browse_in(local, "admin", "x")
    assert page.status_code == 429 and "Retry-After" in page.headers and 'role="alert"' in page.text


@pytest.mark.parametrize("path", ["/auth/token", "/login"])
def test_requests_without_sign_in_are_limited_in_size(local: TestClient, path: str) -> None:
    answer = local.post(path, data={"username": "a", "name": "a", "password": "x" * 20_000})
    assert answer.status_code == 413
    assert local.post("/auth/token", data={"username": "a" * 300, "password": "x"}).status_code == 401


def test_tokens_are_not_cached(local: TestClient) -> None:
    answer = local.post("/auth/token", data={"username": "admin", "password": PASSWORD})
    assert answer.headers["cache-control"] == "no-store" and answer.json()["token_type"] == "bearer"


def test_a_browser_is_redirected_to_sign_in_and_back(local: TestClient) -> None:
    wanted = "/ohif/viewer?StudyInstanceUIDs=1.2&x=a%20b"
    led = local.get(wanted, headers=PAGE)
    assert led.status_code == 303 and led.headers["location"].startswith("/login?next=/ohif/viewer%3F")
    page = local.get(led.headers["location"], headers=PAGE)
    assert (
        page.status_code == 200
        and "script" not in page.text
        and "default-src 'none'" in page.headers["content-security-policy"]
    )
    found = re.search(r'name="next" value="([^"]+)"', page.text)
    assert found
    answer = browse_in(local, "user", next=found[1].replace("&amp;", "&"))
    assert answer.status_code == 303 and answer.headers["location"] == wanted
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie and "path=/;" in cookie
    assert local.get(wanted, headers=PAGE).json()["username"] == "user"
    assert "signed in as <strong>user</strong>" in local.get("/login").text


def test_the_cookie_is_secure_on_https(gated: Callable[..., TestClient], users_file: Path) -> None:
    client = gated(LocalUsersAuthority(UsersFile(users_file)))
    client.base_url = client.base_url.copy_with(scheme="https")
    assert "secure" in client.get("/login").headers["set-cookie"].lower()


def test_signing_out_ends_the_session_itself(local: TestClient) -> None:
    browse_in(local, "user")
    secret = local.cookies[COOKIE]
    answer = local.post("/logout", data={"csrf_token": form(local)}, headers=PAGE)
    assert answer.status_code == 303 and COOKIE not in local.cookies
    assert local.get("/info/", headers={"Cookie": f"{COOKIE}={secret}"}).status_code == 401
    headers = sign_in(local, "user")
    assert local.post("/logout", headers=headers).json() == {"signed_out": True}
    assert local.get("/info/", headers=headers).status_code == 401


def test_a_removed_user_is_signed_out(local: TestClient, users_file: Path) -> None:
    browse_in(local, "user")
    assert local.get("/info/").status_code == 200
    remove_user(users_file, "user")
    assert local.get("/info/").status_code == 401


@pytest.mark.parametrize("csrf", ["", "0" * 64, "of another browser"])
def test_forms_without_the_token_are_refused(local: TestClient, csrf: str, caplog: pytest.LogCaptureFixture) -> None:
    if csrf == "of another browser":
        csrf = form(local)
        local.cookies.clear()
    answer = local.post("/login", data={"csrf_token": csrf, "name": "user", "password": PASSWORD}, headers=PAGE)
    assert (answer.status_code, answer.json()["code"]) == (403, "BAD_FORM") and "BAD_FORM" in caplog.text
    assert COOKIE not in local.cookies


def test_a_form_of_another_site_cannot_sign_in_or_out(local: TestClient) -> None:
    csrf = form(local)
    data = {"csrf_token": csrf, "name": "user", "password": PASSWORD}
    assert local.post("/login", data=data, headers=PAGE | {"Origin": "http://evil.example"}).status_code == 403
    browse_in(local, "user")
    assert local.post("/logout", data={}, headers=PAGE).status_code == 403
    assert local.get("/info/").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        "http://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
        "",
        "x",
    ],
)
def test_sign_in_never_redirects_to_another_server(local: TestClient, wanted: str) -> None:
    answer = browse_in(local, "user", next=wanted)
    assert answer.status_code == 303 and answer.headers["location"] == "/ohif/"


def test_the_requested_page_is_escaped(local: TestClient) -> None:
    page = local.get("/login", params={"next": '/"><script>alert(1)</script>'}).text
    assert "<script>" not in page


def test_the_page_loads_nothing_from_other_servers(local: TestClient) -> None:
    page = local.get("/login").text
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == ["/login/style.css"]
    assert local.get("/login/style.css").headers["content-type"].startswith("text/css")
    for each in ("name", "password"):
        assert f'<label for="{each}">' in page and f'id="{each}"' in page
    assert '<html lang="en">' in page and "<title>" in page and "<main>" in page
