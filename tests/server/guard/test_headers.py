"""What browsers are told."""

import pytest

from lib.server.guard.headers import headers_for


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/ohif/", "/ohif/x/y", "/static/ohif/a.js", "/info/", "/admin", "/logs/", "/x"]
)
def test_no_page_is_framed_and_none_loads_from_anywhere(path: str) -> None:
    headers = headers_for(path)
    policy = {part.split()[0]: part.split()[1:] for part in headers["Content-Security-Policy"].split("; ")}
    assert policy["default-src"] == ["'self'"] and policy["frame-ancestors"] == ["'self'"]
    assert policy["object-src"] == ["'none'"] and headers["X-Content-Type-Options"] == "nosniff"
    assert not any(source in ("*", "http:", "https:") for sources in policy.values() for source in sources)


def test_only_known_pages_run_scripts_of_their_own() -> None:
    assert "script-src" not in headers_for("/info/")["Content-Security-Policy"]
    assert "script-src" not in headers_for("/ohifx")["Content-Security-Policy"]
    assert "'unsafe-eval'" not in headers_for("/")["Content-Security-Policy"]
    assert "blob:" in headers_for("/ohif/viewer")["Content-Security-Policy"]
