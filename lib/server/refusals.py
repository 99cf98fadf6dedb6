"""Turn exceptions into answers: a refusal with code, reason and remedy, or a server fault with an id."""

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
from lib.jobs.failure_watch import BrokenOutput
from lib.models.sam.foundation import NoFoundation
from lib.records.database import LedgerUnavailable
from lib.server.log import NO_REQUEST, current_request
from lib.tasks.serving.result import RequestError
from lib.tasks.serving.weights import NoWeights, SchemaMismatch
from lib.tasks.store.folder import NotStored

logger = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
MAX_FAULTS_LISTED = 5
"""Number of validation faults in the reason of a refusal; `detail` lists all of them."""
HTTP_REASONS = {
    400: ("BAD_REQUEST", "Correct the request; GET / lists the parameters of each address."),
    401: ("NOT_SIGNED_IN", "Sign in again."),
    403: ("FORBIDDEN", "Ask an admin for the required role."),
    404: (
        "NOT_FOUND",
        "GET / lists the addresses, GET /info/ the models, and GET /datastore/?output=all the studies and labels.",
    ),
    405: ("METHOD_NOT_ALLOWED", "GET / lists the addresses and their methods."),
    406: ("NOT_OFFERED", "GET /info/ lists what this server offers."),
    409: ("CONFLICT", "Read the current state first, then send the request again."),
    413: ("TOO_LARGE", "Send less data in one request."),
    415: ("WRONG_TYPE", "GET / lists the content types of each address."),
    429: ("ALREADY_RUNNING", "Read its status, and send the request again when it has ended."),
    500: ("INTERNAL", "Read the server's log with GET /logs/."),
}
_DATA_SAFE = "Data saved earlier is not affected."


class Refused(Exception):
    """Raised to refuse a request; the client gets the reason instead of a result.

    Args:
        status: HTTP status, 4xx or 5xx.
        code: Stable error code.
        reason: What is wrong.
        remedy: The next step for the user.
        retry_after: Seconds after which the client may retry; None if a retry does not help.
        headers: Additional headers of the answer.
        more: Additional fields of the answer.
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
        # MONAI Label's own errors have the field `detail`, and viewers show it.
        self.body = {"code": code, "reason": reason, "remedy": remedy, "detail": f"{reason} {remedy}"} | more


def refusal(error: Exception, request: str) -> Refused:
    """Return the refusal for an exception; an unexpected exception is logged under an id.

    Args:
        error: The exception.
        request: Method and path of the request, for the log.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, InputRejected):
        first = error.findings[0]
        return Refused(422, first.code, first.reason, first.remedy, findings=error.as_dict()["findings"])
    if isinstance(error, RequestError):
        return Refused(400, "BAD_REQUEST", str(error), "Correct the field params of the request.")
    if isinstance(error, NoWeights):
        return Refused(503, "NO_WEIGHTS", str(error), "Then send the request again; no restart is needed.")
    if isinstance(error, NoFoundation):
        return Refused(503, "NO_FOUNDATION", f"{error}.", "Then restart the server.")
    if isinstance(error, SchemaMismatch):
        remedy = "Then send the request again; no restart is needed for a new version."
        return Refused(503, "LABELS_CHANGED", f"{error}.", remedy)
    if isinstance(error, BrokenOutput):
        remedy = "Send the request again; the server rolls back a version that fails repeatedly."
        return Refused(503, "MODEL_FAILED", f"{error}.".capitalize(), remedy)
    if isinstance(error, torch.OutOfMemoryError):
        reason = "The device has too little free memory for one window of this image."
        remedy = "Send the request again when training or other inference has ended."
        return Refused(503, "OUT_OF_MEMORY", reason, remedy)
    if isinstance(error, ImageNotFoundException | LabelNotFoundException):
        return Refused(404, "NOT_FOUND", error.msg, "List the names with GET /datastore/?output=all.")
    if isinstance(error, MONAILabelException) and error.error == MONAILabelError.INVALID_INPUT:
        return Refused(400, "BAD_REQUEST", error.msg, "See GET /info/ for the models and strategies.")
    if isinstance(error, NotStored):
        reason = f"The archive did not store the label as DICOM SEG: {error}. The label is kept as {error.kept}."
        remedy = "Check that the archive runs and that the log shows no failed conversion, then send the label again."
        return Refused(502, "ARCHIVE_UNAVAILABLE", reason, remedy, kept=error.kept)
    if isinstance(error, requests.RequestException):
        reason = f"The request to the DICOMweb server failed: {error}. {_DATA_SAFE}"
        remedy = "Check that the DICOMweb server runs at the configured address, then send the request again."
        return Refused(502, "ARCHIVE_UNAVAILABLE", reason, remedy)
    if isinstance(error, HTTPException):
        return _from_http_exception(error)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, OSError) and (refused := _disk(error)):
        logger.error("%s: %s", request, error)
        return refused
    return _fault(error, request)


def _from_http_exception(error: HTTPException) -> Refused:
    """Return the refusal for an error of MONAI Label or the framework; `detail` is unchanged for viewers."""
    code, remedy = HTTP_REASONS.get(error.status_code, HTTP_REASONS[400])
    detail = error.detail or code
    return Refused(error.status_code, code, str(detail), remedy, headers=error.headers, detail=detail)


def _invalid(error: RequestValidationError) -> Refused:
    # The input is left out of the answer: it may be a whole body, or not JSON.
    faults = [{"type": e["type"], "loc": list(e["loc"]), "msg": e["msg"]} for e in error.errors()]
    reason = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:MAX_FAULTS_LISTED])
    remedy = "See GET / for the parameters of this address."
    return Refused(422, "INVALID_REQUEST", f"{reason}.", remedy, detail=faults)


def _disk(error: OSError) -> Refused | None:
    if error.errno in DISK_FULL:
        remedy = "Free space on the server's disk, then send the request again; no restart is needed."
        return Refused(507, "DISK_FULL", f"The server's disk is full. {_DATA_SAFE}", remedy)
    if error.errno in DISK_READ_ONLY:
        remedy = "Give the server's account write access to the studies and the app's folder, then send it again."
        return Refused(503, "DISK_READ_ONLY", f"The server may not write to its disk. {_DATA_SAFE}", remedy)
    if isinstance(error, LedgerUnavailable):
        remedy = "Run `python -m lib ledger verify` on the server, then send the request again."
        return Refused(503, "LEDGER_UNAVAILABLE", f"{error.strerror}. {_DATA_SAFE}", remedy)
    return None


def _fault(error: Exception, request: str) -> Refused:
    request_id = current_request().id
    fault_id = uuid.uuid4().hex[:8] if request_id == NO_REQUEST else request_id
    logger.error("fault %s in %s", fault_id, request, exc_info=error)
    remedy = "Read the server's log with GET /logs/ and search for the id."
    return Refused(500, "INTERNAL", f"The server failed (id {fault_id}).", remedy, id=fault_id)
