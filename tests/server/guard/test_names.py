"""Names and addresses in all spellings of an attacker."""

from typing import Any
from urllib.parse import quote

import pytest

from lib.server.guard.names import check_address, check_name, check_query
from lib.server.refusals import Refused


def scope(target: str, method: str = "GET") -> dict[str, Any]:
    """Return the ASGI scope that uvicorn makes from a request line."""
    from urllib.parse import unquote

    path, _, query = target.partition("?")
    return {"method": method, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode()}


@pytest.mark.parametrize(
    "name", ["ct_1", "1.2.840.113", "New study (2)", "ü", "a..b", "x" * 200, "50%", "100%25", "体"]
)
def test_valid_names_are_accepted(name: str) -> None:
    check_name(name, "image")


BAD = [
    "",
    "..",
    ".hidden",
    "../x",
    "a/b",
    "a\\b",
    "C:x",
    "a\nb",
    "a\x00",
    "a\x85",
    "a\u2028b",
    "/etc/passwd",
    "x" * 201,
    "%2e%2e%2fx",
    "%252e%252e%252fx",
    "a%2Fb",
    "a%5cb",
    "a%00",
    "\uff0e\uff0e\uff0fx",  # full-width characters, which normalisation turns into plain ones
    "a\uff0fb",
    "a\u2215b",
    "a\u2044b",
    "a\uff3cb",
    "\u2025",
    "\u2024x",
    "a\ufffdb",
    "\ud800",
]


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_paths_are_refused_as_names(name: str) -> None:
    with pytest.raises(Refused, match="BAD_NAME"):
        check_name(name, "image")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/info/",
        "/ohif/app.bundle.css",
        "/model/New%20model",
        "/ohif/..hidden",
        "/x/%C3%BC",
        "/a%20b",
        "/datastore//",
    ],
)
def test_valid_addresses_are_accepted(target: str) -> None:
    check_address(scope(target))


@pytest.mark.parametrize(
    "target",
    [
        "/../x",
        "/./x",
        "/x/..",
        "/%2e%2e/x",
        "/%2E./x",
        "/%252e%252e/x",
        "/%25252e%25252e/x",
        "/..%2fx",
        "/x%2fy",
        "/x%5c..%5cy",
        "/x\\y",
        "/x%00.nii",
        "/x%2500",
        "/x%0d%0ay",
        "/%c0%ae%c0%ae/x",
        "/%uff0e%uff0e%2fx",
        "/" + quote("\uff0e\uff0e") + "/x",
        "/x" + quote("\u2215") + "y",
        "http://evil.example/",
        "*",
        "/x%252fy",
    ],
)
def test_addresses_that_leave_their_folder_are_refused(target: str) -> None:
    with pytest.raises(Refused, match="BAD_PATH"):
        check_address(scope(target))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("image=..%2Fx", "BAD_NAME"),
        ("image=a&image=..%2Fx", "BAD_NAME"),
        ("tag=%252e%252e%252fx", "BAD_NAME"),
        ("session_id=%2Fetc", "BAD_NAME"),
        ("label=a%00", "BAD_QUERY"),
        ("other=a%0b", "BAD_QUERY"),
        ("&".join(["a=1"] * 51), "BAD_QUERY"),
        ("uncompress=1", "NO_ARCHIVES"),
        ("uncompress=yes", "NO_ARCHIVES"),
    ],
)
def test_bad_queries_are_refused(query: str, code: str) -> None:
    with pytest.raises(Refused, match=code):
        check_query(scope(f"/x?{query}"))


@pytest.mark.parametrize(
    "query", ["", "image=", "image=a.b&uncompress=false", "output=all", "image=a%20b+c", "x=%2Fetc"]
)
def test_queries_of_viewers_are_accepted(query: str) -> None:
    check_query(scope(f"/x?{query}"))
