"""The security headers for browsers."""

import pytest

from lib.server.guard.headers import headers_for


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/ohif/", "/ohif/x/y", "/static/ohif/a.js", "/info/", "/admin", "/logs/", "/x"]
)
def test_pages_cannot_be_framed_and_load_from_no_other_site(path: str) -> None:
    headers = headers_for(path)
    policy = {part.split()[0]: part.split()[1:] for part in headers["Content-Security-Policy"].split("; ")}
    assert policy["default-src"] == ["'self'"] and policy["frame-ancestors"] == ["'self'"]
    assert policy["object-src"] == ["'none'"] and headers["X-Content-Type-Options"] == "nosniff"
    assert not any(source in ("*", "http:", "https:") for sources in policy.values() for source in sources)


def test_only_known_pages_may_run_inline_scripts() -> None:
    assert "script-src" not in headers_for("/info/")["Content-Security-Policy"]
    assert "script-src" not in headers_for("/ohifx")["Content-Security-Policy"]
    assert "'unsafe-eval'" not in headers_for("/")["Content-Security-Policy"]
    assert "blob:" in headers_for("/ohif/viewer")["Content-Security-Policy"]
