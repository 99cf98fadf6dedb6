"""Every exception as an answer: what the client did wrong with code, reason and remedy, else a fault with an id."""

import errno
import logging
import uuid
from collections.abc import Mapping
from typing import Any

import requests
import torch
from fastapi.exceptions import RequestValidationError
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from starlette.exceptions import HTTPException

from lib.data.findings import InputRejected
from lib.jobs.watch import BrokenOutput
from lib.models.sam.foundation import NoFoundation
from lib.records.engine import LedgerUnavailable
from lib.server.log import NO_REQUEST, asked
from lib.tasks.serving.result import RequestError
from lib.tasks.serving.weights import NoWeights, SchemaMismatch
from lib.tasks.store.folder import NotStored

logger = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
MAX_TOLD = 5
"""Of the faults of a request that are told in one sentence; all are in `detail`."""
HTTP_REASONS = {
    400: ("BAD_REQUEST", "Correct the request; GET / lists what each address takes."),
    401: ("NOT_SIGNED_IN", "Sign in again."),
    403: ("FORBIDDEN", "Ask an admin for the role that this needs."),
    404: ("NOT_FOUND", "GET / lists the addresses, GET /info/ and GET /datastore/?output=all what there is."),
    405: ("METHOD_NOT_ALLOWED", "GET / lists the addresses and their methods."),
    406: ("NOT_OFFERED", "GET /info/ says what is offered."),
    409: ("CONFLICT", "Look at what is there first."),
    413: ("TOO_LARGE", "Send less at once."),
    415: ("WRONG_TYPE", "GET / lists what each address takes."),
    429: ("ALREADY_RUNNING", "Ask for its status, and again when it has ended."),
    500: ("INTERNAL", "GET /logs/ says more."),
}
_KEPT = "Nothing that was saved before is harmed."


class Refused(Exception):
    """Raised for a request that is answered with a reason instead of a result.

    Args:
        status: HTTP status, 4xx or 5xx.
        code: Stable name of the reason.
        reason: What is wrong.
        remedy: What to do about it.
        retry_after: Seconds after which to ask again, where that may help.
        headers: Further headers of the answer.
        more: Further fields of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        reason: str,
        remedy: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.status, self.headers = status, dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        # MONAI Label's own refusals have `detail`, and viewers show it.
        self.body = {"code": code, "reason": reason, "remedy": remedy, "detail": f"{reason} {remedy}"} | more


def refusal(error: Exception, request: str) -> Refused:
    """Return the answer to a request that failed; what nobody foresaw is logged under an id.

    Args:
        error: What was raised.
        request: Method and path, for the log.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, InputRejected):
        first = error.findings[0]
        return Refused(422, first.code, first.reason, first.remedy, findings=error.as_dict()["findings"])
    if isinstance(error, RequestError):
        return Refused(400, "BAD_REQUEST", str(error), "Correct the request's params.")
    if isinstance(error, NoWeights):
        return Refused(503, "NO_WEIGHTS", str(error), "Then ask again; no restart is needed.")
    if isinstance(error, NoFoundation):
        return Refused(503, "NO_FOUNDATION", f"{error}.", "Then start the server again.")
    if isinstance(error, SchemaMismatch):
        return Refused(503, "LABELS_CHANGED", f"{error}.", "Then ask again; no restart is needed for a new version.")
    if isinstance(error, BrokenOutput):
        remedy = "Ask again: a version that goes on failing is taken back by itself."
        return Refused(503, "MODEL_FAILED", f"{error}.".capitalize(), remedy)
    if isinstance(error, torch.OutOfMemoryError):
        reason = "The device has no memory left for one window of this image."
        return Refused(503, "OUT_OF_MEMORY", reason, "Ask again when training or other inference has ended.")
    if isinstance(error, ImageNotFoundException | LabelNotFoundException):
        return Refused(404, "NOT_FOUND", error.msg, "List the names with GET /datastore/?output=all.")
    if isinstance(error, MONAILabelException) and error.error == MONAILabelError.INVALID_INPUT:
        return Refused(400, "BAD_REQUEST", error.msg, "See GET /info/ for what there is.")
    if isinstance(error, NotStored):
        reason = f"The archive did not take the label as DICOM SEG: {error}. It is kept as {error.kept}."
        remedy = "See that the archive runs and that the log names no failed conversion, then send the label again."
        return Refused(502, "ARCHIVE_UNAVAILABLE", reason, remedy, kept=error.kept)
    if isinstance(error, requests.RequestException):
        remedy = "See that it runs at the address that the server was started with, then send it again."
        return Refused(502, "ARCHIVE_UNAVAILABLE", f"The DICOMweb server did not do its part: {error}. {_KEPT}", remedy)
    if isinstance(error, HTTPException):
        return _theirs(error)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, OSError) and (refused := _disk(error)):
        logger.error("%s: %s", request, error)
        return refused
    return _fault(error, request)


def _theirs(error: HTTPException) -> Refused:
    """Return what MONAI Label or the framework says of itself; `detail`, which viewers show, stays as it is."""
    code, remedy = HTTP_REASONS.get(error.status_code, HTTP_REASONS[400])
    detail = error.detail or code
    return Refused(error.status_code, code, str(detail), remedy, headers=error.headers, detail=detail)


def _invalid(error: RequestValidationError) -> Refused:
    # What came is not said again: it may be a whole body, or no JSON.
    found = [{"type": e["type"], "loc": list(e["loc"]), "msg": e["msg"]} for e in error.errors()]
    reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:MAX_TOLD])
    return Refused(422, "INVALID_REQUEST", f"{reason}.", "See GET / for what this address takes.", detail=found)


def _disk(error: OSError) -> Refused | None:
    if error.errno in DISK_FULL:
        remedy = "Make room on the server's disk, then send it again; no restart is needed."
        return Refused(507, "DISK_FULL", f"The server's disk is full. {_KEPT}", remedy)
    if error.errno in DISK_CLOSED:
        remedy = "Give the server's user write access to the studies and the app's folder, then send it again."
        return Refused(503, "DISK_READ_ONLY", f"The server may not write to its disk. {_KEPT}", remedy)
    if isinstance(error, LedgerUnavailable):
        remedy = "Run `python -m lib ledger verify` on the server, then send it again."
        return Refused(503, "LEDGER_UNAVAILABLE", f"{error.strerror}. {_KEPT}", remedy)
    return None


def _fault(error: Exception, what: str) -> Refused:
    at_work = asked().id
    number = uuid.uuid4().hex[:8] if at_work == NO_REQUEST else at_work
    logger.error("fault %s in %s", number, what, exc_info=error)
    return Refused(500, "INTERNAL", f"The server failed (id {number}).", "GET /logs/ explains the id.", id=number)
