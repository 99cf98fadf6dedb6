"""Exceptions as HTTP answers."""

import errno

import pytest
import requests
import torch
from monailabel.interfaces.exception import ImageNotFoundException, MONAILabelError, MONAILabelException

from lib.data.findings import reject
from lib.models.sam.foundation import NoFoundation
from lib.records.database import LedgerUnavailable
from lib.server.refusals import Refused, refusal
from lib.tasks.serving.result import RequestError
from lib.tasks.serving.weights import NoWeights


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 503, "OUT_OF_MEMORY"),
        (Refused(418, "TEAPOT", "I am.", "Find a kettle."), 418, "TEAPOT"),
        (reject("EMPTY", "Nothing.", "Send more."), 422, "EMPTY"),
        (RequestError("result_dtype"), 400, "BAD_REQUEST"),
        (NoWeights("none"), 503, "NO_WEIGHTS"),
        (NoFoundation("no weights"), 503, "NO_FOUNDATION"),
        (ImageNotFoundException("x not found"), 404, "NOT_FOUND"),
        (MONAILabelException(MONAILabelError.INVALID_INPUT, "no model"), 400, "BAD_REQUEST"),
        (MONAILabelException(MONAILabelError.INFERENCE_ERROR, "broke"), 500, "INTERNAL"),
        (ValueError("broke"), 500, "INTERNAL"),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "DISK_FULL"),
        (PermissionError(errno.EACCES, "Permission denied"), 503, "DISK_READ_ONLY"),
        (LedgerUnavailable(errno.ENOSPC, "the ledger cannot be written"), 507, "DISK_FULL"),
        (LedgerUnavailable(errno.EIO, "the ledger cannot be written"), 503, "LEDGER_UNAVAILABLE"),
        (requests.ConnectionError("refused"), 502, "ARCHIVE_UNAVAILABLE"),
        (FileNotFoundError(errno.ENOENT, "gone"), 500, "INTERNAL"),
    ],
)
def test_status_and_code(error: Exception, status: int, code: str) -> None:
    answer = refusal(error, "GET /x")
    assert (answer.status, answer.body["code"]) == (status, code)
    assert answer.body["remedy"] and answer.body["detail"]
    assert ("id" in answer.body) == (status == 500)


def test_every_fault_has_its_own_id() -> None:
    assert refusal(KeyError(), "GET /x").body["id"] != refusal(KeyError(), "GET /x").body["id"]
