"""The way to the DICOMweb server behind, for viewers: reading, and nothing but DICOMweb."""

import re
from collections.abc import Iterator

import requests
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from monailabel.config import settings

from lib.server.refusals import Refused
from lib.server.routes.request import Reader

SENT = ("accept", "accept-language", "if-none-match", "if-modified-since", "range")
KEPT = ("content-type", "content-encoding", "content-length", "content-range", "etag", "last-modified", "cache-control")
PIECE_BYTES = 1 << 20
_UID = r"[0-9][0-9.]{0,63}"
_INSTANCE = rf"/instances/{_UID}(?:/frames/\d{{1,6}}(?:,\d{{1,6}}){{0,999}})?"
_PATH = re.compile(
    rf"(?:studies(?:/{_UID}(?:/series(?:/{_UID}(?:/instances|{_INSTANCE})?)?|/instances)?)?|series|instances)"
    r"(?:/(?:metadata|rendered|thumbnail|pixeldata|bulkdata(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*){0,8}))?/?"
)

router = APIRouter()


@router.api_route("/proxy/dicom/{path:path}", methods=["GET", "HEAD"], include_in_schema=False)
def read(user: Reader, request: Request, path: str) -> StreamingResponse:
    """Send what the DICOMweb server answers.

    Args:
        user: Anybody who may read.
        request: Its query goes along.
        path: ``studies/...``, or the same below ``qido`` or ``wado``.
    """
    service, _, rest = path.partition("/")
    if service not in ("qido", "wado"):
        service, rest = "", path
    if not settings.MONAI_LABEL_STUDIES.startswith(("http://", "https://")):
        raise Refused(404, "NO_ARCHIVE", "The studies are a folder: there is no DICOMweb server.", "Use /datastore/.")
    if not _PATH.fullmatch(rest):
        raise Refused(403, "NOT_DICOMWEB", "This is no address of DICOMweb that is read here.", "Ask for studies/...")
    answer = requests.request(
        request.method,
        _address(service, rest),
        params=request.url.query,
        headers={name: request.headers[name] for name in SENT if name in request.headers},
        auth=_user(),
        stream=True,
        allow_redirects=False,
        timeout=(settings.MONAI_LABEL_DICOMWEB_READ_TIMEOUT, settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT),
    )
    if answer.is_redirect:
        answer.close()
        reason = "The DICOMweb server points to another address."
        raise Refused(502, "ARCHIVE_REDIRECTS", reason, "Start the server with that address.")
    headers = {name: answer.headers[name] for name in KEPT if name in answer.headers}
    return StreamingResponse(_pieces(answer), answer.status_code, headers)


@router.api_route("/proxy/{path:path}", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
def change(user: Reader, path: str) -> None:
    """Refuse to change the archive: a label that came this way would be in nobody's ledger."""
    remedy = "Submit labels with PUT /datastore/label; they reach the archive as DICOM SEG."
    raise Refused(405, "ARCHIVE_READ_ONLY", "The archive is only read through here.", remedy, headers={"Allow": "GET"})


def _address(service: str, path: str) -> str:
    wado = service == "wado" or path.rstrip("/").endswith("metadata")
    prefix = settings.MONAI_LABEL_WADO_PREFIX if wado else settings.MONAI_LABEL_QIDO_PREFIX if service else ""
    return "/".join([settings.MONAI_LABEL_STUDIES.rstrip("/"), *filter(None, [(prefix or "").strip("/")]), path])


def _user() -> tuple[str, str] | None:
    name = settings.MONAI_LABEL_DATASTORE_USERNAME or settings.MONAI_LABEL_DICOMWEB_USERNAME
    password = settings.MONAI_LABEL_DATASTORE_PASSWORD or settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return (name, password) if name and password else None


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    with answer:
        # As it came: what is compressed stays so, as its headers say.
        yield from answer.raw.stream(PIECE_BYTES, decode_content=False)
