"""A read-only proxy to the DICOMweb server, for viewers."""

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
    """Return the answer of the DICOMweb server.

    Args:
        user: A user with the role to read.
        request: The request; its query is passed on.
        path: DICOMweb path ``studies/...``, optionally below ``qido`` or ``wado``.
    """
    service, _, rest = path.partition("/")
    if service not in ("qido", "wado"):
        service, rest = "", path
    if not settings.MONAI_LABEL_STUDIES.startswith(("http://", "https://")):
        reason = "The studies are in a folder: there is no DICOMweb server."
        raise Refused(404, "NO_ARCHIVE", reason, "Use /datastore/.")
    if not _PATH.fullmatch(rest):
        reason = "The address is not a DICOMweb address that this proxy supports."
        raise Refused(403, "NOT_DICOMWEB", reason, "Use an address below studies/, series or instances.")
    answer = requests.request(
        request.method,
        _address(service, rest),
        params=request.url.query,
        headers={name: request.headers[name] for name in SENT if name in request.headers},
        auth=_credentials(),
        stream=True,
        allow_redirects=False,
        timeout=(settings.MONAI_LABEL_DICOMWEB_READ_TIMEOUT, settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT),
    )
    if answer.is_redirect:
        answer.close()
        reason = "The DICOMweb server redirects to another address."
        raise Refused(502, "ARCHIVE_REDIRECTS", reason, "Ask the admin to start the server with that address.")
    headers = {name: answer.headers[name] for name in KEPT if name in answer.headers}
    return StreamingResponse(_stream(answer), answer.status_code, headers)


@router.api_route("/proxy/{path:path}", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
def change(user: Reader, path: str) -> None:
    """Refuse to change the archive: the ledger would not record a label that is stored this way."""
    remedy = "Submit labels with PUT /datastore/label; the server stores them in the archive as DICOM SEG."
    raise Refused(405, "ARCHIVE_READ_ONLY", "This proxy is read-only.", remedy, headers={"Allow": "GET"})


def _address(service: str, path: str) -> str:
    wado = service == "wado" or path.rstrip("/").endswith("metadata")
    prefix = settings.MONAI_LABEL_WADO_PREFIX if wado else settings.MONAI_LABEL_QIDO_PREFIX if service else ""
    return "/".join([settings.MONAI_LABEL_STUDIES.rstrip("/"), *filter(None, [(prefix or "").strip("/")]), path])


def _credentials() -> tuple[str, str] | None:
    name = settings.MONAI_LABEL_DATASTORE_USERNAME or settings.MONAI_LABEL_DICOMWEB_USERNAME
    password = settings.MONAI_LABEL_DATASTORE_PASSWORD or settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return (name, password) if name and password else None


def _stream(answer: requests.Response) -> Iterator[bytes]:
    with answer:
        # Not decoded: the headers that are passed on name the encoding.
        yield from answer.raw.stream(PIECE_BYTES, decode_content=False)
