"""Values that a client sends as JSON: plain data that can be stored, and answered again."""

import json
import math
import re
from typing import Any, NoReturn

from lib.server.refusals import Refused

MAX_DEPTH = 16
MAX_INTEGER = 2**63 - 1
"""What a database keeps."""
# NUL ends a text elsewhere, and lone surrogates are no text.
_NOT_IN_TEXT = re.compile("[\x00\ud800-\udfff]")


def read_object(text: str, what: str = "params") -> dict[str, Any]:
    """Return a JSON object that a client sent; an empty text is an empty object.

    Args:
        text: What came.
        what: Which field, for the answer.
    Raises:
        Refused: BAD_PARAMS, if it is anything else.
    """
    try:
        value = json.loads(text or "{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "BAD_PARAMS", f"{what} is not JSON: {str(error)[:200]}.", "Send a JSON object.") from None
    if not isinstance(value, dict):
        raise Refused(400, "BAD_PARAMS", f"{what} is not an object.", "Send a JSON object.")
    check_values(value, what)
    return value


def check_values(value: Any, what: str = "params") -> None:
    """Refuse data that nothing here can keep: too deep, not finite, too large, or no text.

    Raises:
        Refused: BAD_PARAMS.
    """
    left = [(value, 0)]
    while left:
        each, depth = left.pop()
        if fault := _fault(each, depth):
            raise Refused(400, "BAD_PARAMS", f"{what} holds {fault}.", "Send plain JSON.")
        if isinstance(each, dict):
            left += [(part, depth + 1) for pair in each.items() for part in pair]
        elif isinstance(each, list):
            left += [(part, depth + 1) for part in each]


def _fault(value: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"more than {MAX_DEPTH} levels"
    if isinstance(value, str) and _NOT_IN_TEXT.search(value):
        return "characters that are no text"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "a number of more than 63 bits"
    return ""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
