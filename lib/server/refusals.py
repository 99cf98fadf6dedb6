"""Every exception as an answer: what the client did wrong with code, reason and remedy, else a fault with an id."""

import errno
import logging
import uuid
from typing import Any

import requests
import torch
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)

from lib.data.findings import InputRejected
from lib.jobs.watch import BrokenOutput
from lib.models.sam.foundation import NoFoundation
from lib.records.engine import LedgerUnavailable
from lib.tasks.result import RequestError
from lib.tasks.store import NotStored
from lib.tasks.weights import NoWeights, SchemaMismatch

logger = logging.getLogger(__name__)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_KEPT = "Nothing that was saved before is harmed."


class Refused(Exception):
    """Raised for a request that is answered with a reason instead of a result.

    Args:
        status: HTTP status, 4xx or 5xx.
        code: Stable name of the reason.
        reason: What is wrong.
        remedy: What to do about it.
        more: Further fields of the answer.
    """

    def __init__(self, status: int, code: str, reason: str, remedy: str, **more: Any) -> None:
        super().__init__(f"{code}: {reason}")
        self.status = status
        # MONAI Label's own refusals have `detail`, and viewers show it.
        self.body = {"code": code, "reason": reason, "remedy": remedy, "detail": f"{reason} {remedy}", **more}


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
        return Refused(422, first.code, first.reason, first.remedy, **error.as_dict())
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
    if isinstance(error, OSError) and (refused := _disk(error)):
        logger.error("%s: %s", request, error)
        return refused
    return _fault(error, request)


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


def _fault(error: Exception, request: str) -> Refused:
    number = uuid.uuid4().hex[:8]
    logger.error("fault %s in %s", number, request, exc_info=error)
    return Refused(500, "INTERNAL", f"The server failed (id {number}).", "GET /logs/ explains the id.", id=number)
