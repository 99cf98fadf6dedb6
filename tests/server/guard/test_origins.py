"""Foreign host names and foreign pages."""

from typing import Any

import pytest

from lib.server.guard.origins import Origins
from lib.server.refusals import Refused

HERE = Origins(hosts=("localhost", "127.0.0.1", "[::1]"), pages=("https://viewer.example",))


def scope(method: str = "GET", host: str | None = "localhost:8000", **headers: str) -> Any:
    pairs = [(b"host", host.encode())] if host is not None else []
    pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"method": method, "path": "/x", "headers": pairs}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_own_host_names_are_accepted(host: str) -> None:
    HERE.check(scope(host=host))


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "localhost:8000@evil", "a b", "::1"],
)
def test_foreign_host_names_are_refused(host: str | None) -> None:
    with pytest.raises(Refused, match="UNKNOWN_HOST"):
        HERE.check(scope(host=host))


def test_two_host_headers_are_refused() -> None:
    twice = scope()
    twice["headers"] *= 2
    with pytest.raises(Refused, match="UNKNOWN_HOST"):
        HERE.check(twice)


def test_any_host_name_is_accepted_without_settings() -> None:
    Origins().check(scope(host="pacs-3.hospital.example:8000"))
    with pytest.raises(Refused, match="UNKNOWN_HOST"):
        Origins().check(scope(host="evil/../x"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8000"},
        {"origin": "https://localhost:8000"},  # behind a TLS proxy
        {"origin": "https://viewer.example"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "https://viewer.example", "sec_fetch_site": "cross-site"},
    ],
)
def test_own_pages_may_change_data(headers: dict[str, str]) -> None:
    for method in ("POST", "PUT", "DELETE"):
        HERE.check(scope(method, **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:8001"},
        {"origin": "http://localhost"},
        {"origin": "https://viewer.example.evil.example"},
        {"origin": "http://viewer.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_foreign_pages_may_not_change_data(headers: dict[str, str]) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        with pytest.raises(Refused, match="FOREIGN_PAGE"):
            HERE.check(scope(method, **headers))
    HERE.check(scope("GET", **headers))  # CORS protects reading


@pytest.mark.parametrize("page", ["*", "https://*.example", "viewer.example", "https://viewer.example/path/", "null"])
def test_wildcard_origins_are_refused(page: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        Origins(pages=(page,))


def test_settings_are_read_from_the_environment() -> None:
    environment = {"TOPOLABEL_HOSTS": "A.example, b", "TOPOLABEL_CORS_ORIGINS": " https://V.example ,"}
    assert (
        Origins.from_environment(environment) == Origins(("a.example", "b"), ("https://v.example",))
        and Origins.from_environment({}) == Origins()
    )
