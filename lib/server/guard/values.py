"""Check JSON values from clients: only plain data that can be stored and sent back."""

import json
import math
import re
from typing import Any, NoReturn

from lib.server.refusals import Refused

MAX_DEPTH = 16
MAX_INTEGER = 2**63 - 1
"""The largest integer of a database column."""
# NUL ends a string in other programs, and lone surrogates cannot be encoded.
_NOT_IN_TEXT = re.compile("[\x00\ud800-\udfff]")


def read_object(text: str, what: str = "params") -> dict[str, Any]:
    """Return the JSON object in a text; an empty text is an empty object.

    Args:
        text: Text from the client.
        what: Name of the field, for the answer.
    Raises:
        Refused: BAD_PARAMS, if the text is not a JSON object or holds values that cannot be stored.
    """
    try:
        value = json.loads(text or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "BAD_PARAMS", f"{what} is not JSON: {str(error)[:200]}.", "Send a JSON object.") from None
    if not isinstance(value, dict):
        raise Refused(400, "BAD_PARAMS", f"{what} is not a JSON object.", "Send a JSON object.")
    check_values(value, what)
    return value


def check_values(value: Any, what: str = "params") -> None:
    """Refuse data that cannot be stored: nested too deeply, not finite, too large, or invalid text.

    Raises:
        Refused: BAD_PARAMS.
    """
    left = [(value, 0)]
    while left:
        current, depth = left.pop()
        if fault := _fault(current, depth):
            raise Refused(400, "BAD_PARAMS", f"{what} contains {fault}.", "Remove that value.")
        if isinstance(current, dict):
            left += [(part, depth + 1) for pair in current.items() for part in pair]
        elif isinstance(current, list):
            left += [(part, depth + 1) for part in current]


def _fault(value: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"more than {MAX_DEPTH} nested levels"
    if isinstance(value, str) and _NOT_IN_TEXT.search(value):
        return "characters that are not valid text"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "a number of more than 63 bits"
    return ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
