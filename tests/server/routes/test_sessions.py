"""Sessions on the real server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.server


def opened(server: Any, path: Path, query: str = "") -> requests.Response:
    with path.open("rb") as file:
        return requests.put(f"{server.url}/session/{query}", files={"files": (path.name, file)}, timeout=30)


def test_a_session_keeps_an_image(server: Any) -> None:
    path = server.studies / "ct_0.nii.gz"
    session = opened(server, path, "?expiry=99999999999").json()["session_id"]
    url = f"{server.url}/session/{session}"
    session = requests.get(url, timeout=10).json()
    assert Path(session["image"]).name == "image.nii.gz" and session["expiry"] <= 7 * 86400
    assert requests.get(f"{url}?image=true", timeout=10).content == path.read_bytes()
    assert requests.delete(url, timeout=10).ok and requests.get(url, timeout=10).status_code == 404


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.zip", b"PK\x03\x04", "NOT_AN_IMAGE"),
        ("a.nii.gz", b"PK\x03\x04", "NOT_AN_IMAGE"),
        ("../../a.nii.gz", b"no image", "NOT_AN_IMAGE"),
        ("a.nrrd", b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\ndata file: /etc/hostname\n\n", "UNREADABLE"),
    ],
)
def test_a_file_that_is_not_an_image_opens_no_session(server: Any, name: str, content: bytes, code: str) -> None:
    answer = requests.put(f"{server.url}/session/", files={"files": (name, content)}, timeout=30)
    assert answer.status_code in (415, 422) and answer.json()["code"] == code


def test_several_files_are_slices_of_one_series(server: Any, tmp_path: Path, make_ct: Callable) -> None:
    files = [("files", (f"{n}.dcm", b"\0" * 128 + b"DICM")) for n in range(3)]
    answer = requests.put(f"{server.url}/session/", files=files, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (422, "NOT_AN_IMAGE")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", ["unknown", "..%2f..", "%2e%2e", "meta.info", ".hidden"])
def test_an_unknown_session_is_refused(server: Any, method: str, name: str) -> None:
    assert requests.request(method, f"{server.url}/session/{name}", timeout=10).status_code in (400, 404, 405)
