"""The proxy to the DICOMweb server: it only reads, and only from that server."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi import FastAPI
from monailabel.config import settings
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from lib.server.guard import Guard
from lib.server.routes import proxy

UIDS = "studies/1.2.3/series/1.2.4"


class Archive(BaseHTTPRequestHandler):
    """Answers with the request it got, and with a redirect for series."""

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web/series"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/secret")
            self.end_headers()
            return
        body = f"{self.command} {self.path} {self.headers.get('Accept')} {self.headers.get('Cookie')}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "a=b")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def archive() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    server.shutdown()


@pytest.fixture
def client(archive: str, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", archive)
    app = FastAPI(middleware=[Middleware(Guard)])
    app.include_router(proxy.router)
    return TestClient(app)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("studies?limit=5&PatientID=A%20B", "studies?limit=5&PatientID=A%20B"),
        ("qido/studies", "studies"),
        (f"qido/{UIDS}/instances", f"{UIDS}/instances"),
        (f"wado/{UIDS}/metadata", f"{UIDS}/metadata"),
        (f"wado/{UIDS}/instances/1.5/frames/1,2", f"{UIDS}/instances/1.5/frames/1,2"),
        (f"wado/{UIDS}/instances/1.5/frames/1/rendered", f"{UIDS}/instances/1.5/frames/1/rendered"),
        (f"wado/{UIDS}/instances/1.5/bulkdata/7FE00010/1", f"{UIDS}/instances/1.5/bulkdata/7FE00010/1"),
        (f"{UIDS}/thumbnail", f"{UIDS}/thumbnail"),
        ("instances", "instances"),
    ],
)
def test_allowed_addresses_are_forwarded(client: TestClient, asked: str, sent: str) -> None:
    answer = client.get(f"/proxy/dicom/{asked}", headers={"Accept": "application/dicom+json", "Cookie": "mine=1"})
    assert answer.status_code == 200 and answer.text == f"GET /dicom-web/{sent} application/dicom+json None"
    assert answer.headers["content-type"] == "application/dicom+json" and "set-cookie" not in answer.headers


def test_head_requests_are_forwarded(client: TestClient) -> None:
    answer = client.head("/proxy/dicom/studies")
    assert answer.status_code == 200 and answer.content == b"" and answer.headers["content-length"]


@pytest.mark.parametrize(
    "path",
    [
        "system",
        "patients",
        "tools/execute-script",
        "studies/1.2.3/archive",
        "studies/../system",
        "studies/1.2.3;/../../system",
        "studies/1.2.3@evil.example",
        "http://evil.example/studies",
        "//evil.example/studies",
        "@evil.example/studies",
        "qido/http:%2F%2Fevil.example/studies",
        "studies%23/system",
        "studies/1.2.3/series/x",
        "wado",
        "stow/studies",
        f"{UIDS}/instances/1.5/frames/{'1,' * 1200}1",
        f"{UIDS}/instances/1.5/bulkdata/%2e%2e",
        "",
    ],
)
def test_other_addresses_are_not_forwarded(client: TestClient, path: str) -> None:
    answer = client.get(f"/proxy/dicom/{path}")
    assert answer.status_code in (400, 403, 414) and answer.json()["code"] in (
        "NOT_DICOMWEB",
        "BAD_PATH",
        "ADDRESS_TOO_LONG",
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["dicom/studies", "dicom/stow/studies", "dicom/wado/studies/1.2/reject/113001", "x"])
def test_requests_that_change_the_archive_are_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, f"/proxy/{path}")
    assert (answer.status_code, answer.json()["code"]) == (405, "ARCHIVE_READ_ONLY")


def test_a_redirect_is_not_followed(client: TestClient) -> None:
    answer = client.get("/proxy/dicom/series")
    assert (answer.status_code, answer.json()["code"]) == (502, "ARCHIVE_REDIRECTS") and "secret" not in answer.text


def test_an_unavailable_archive_is_reported(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", "http://127.0.0.1:1/dicom-web")
    assert client.get("/proxy/dicom/studies").json()["code"] == "ARCHIVE_UNAVAILABLE"


def test_a_folder_of_studies_has_no_proxy(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", "/data/ct")
    assert client.get("/proxy/dicom/studies").json()["code"] == "NO_ARCHIVE"
