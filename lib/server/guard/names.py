"""Addresses and names: nothing that leaves the store, or that something behind could read as a path."""

import re
import unicodedata
from urllib.parse import parse_qsl, unquote

from starlette.types import Scope

from lib.server.refusals import Refused

MAX_NAME = 200
MAX_QUERY_FIELDS = 50
NAME_KEYS = ("image", "label", "id", "tag", "session_id", "model", "method", "strategy", "label_tag", "mend")
# The slashes that no normal form makes a plain one of stand here themselves; U+FFFD was no UTF-8.
_NOT_IN_A_NAME = re.compile("[/\\\\:\x00-\x1f\x7f-\x9f\u2028\u2029\u2044\u2215\u29f8\u29f9\ufffd\ud800-\udfff]")
_NOT_IN_A_VALUE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_IN_A_PATH = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\u2044\u2215\u29f8\u29f9\ufffd]")
_ENCODED_IN_A_PATH = re.compile(rb"%(?:2f|5c|25|00)", re.IGNORECASE)
_MODEL = re.compile(r"/model/[^/]+/?$")
_NOT_OFFERED = re.compile(r"/(?:reload|infer/wsi(?:_v2)?(?:/.*)?)/?$")
"""Whole-slide inference reads any path of this machine; a reload throws the app away and is never needed."""


def check_name(value: str, what: str) -> None:
    """Refuse a name that could be a path, also after it was decoded again or brought into a normal form.

    Args:
        value: An image id, label id, tag, session id or the like.
        what: Which of them, for the answer.
    Raises:
        Refused: If it holds a separator or control character, begins with a dot, or is too long.
    """
    if not 0 < len(value) <= MAX_NAME or any(_is_path(form) for form in _forms(value)):
        remedy = "Use a name without path separators, as GET /datastore/?output=all lists them."
        raise Refused(400, "BAD_NAME", f"The {what} {value[:80]!r} is no name of the store.", remedy)


def check_address(scope: Scope) -> None:
    """Refuse a path that leaves its folder, however it is written, and what is not offered here."""
    path = scope["path"]
    forms = _forms(path)
    folders = [form.replace("\\", "/").split("/") for form in forms]
    raw = scope.get("raw_path") or b""
    if (
        any(name in (".", "..") for names in folders for name in names)
        or any(_NOT_IN_A_PATH.search(form) for form in forms)
        or _ENCODED_IN_A_PATH.search(raw)
        or not path.startswith("/")
    ):
        raise Refused(400, "BAD_PATH", "The address leaves its folder.", "Ask for the resource itself.")
    if _NOT_OFFERED.search(path):
        raise Refused(404, "NOT_OFFERED", f"{path[:80]} is not offered here.", "GET / lists what is.")
    if scope["method"] in ("PUT", "DELETE") and _MODEL.search(path):
        raise Refused(405, "MODEL_READ_ONLY", "Weights are written by training only.", "POST to /train/ instead.")


def check_query(scope: Scope) -> None:
    """Refuse a query whose names are none, or that asks to unpack an archive."""
    query = scope.get("query_string", b"").decode("latin-1")
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        reason = f"The address has more than {MAX_QUERY_FIELDS} fields."
        raise Refused(400, "BAD_QUERY", reason, "Send what the route knows.") from None
    for key, value in fields:
        if _NOT_IN_A_VALUE.search(key + value):
            reason = f"{key[:40]!r} holds control characters."
            raise Refused(400, "BAD_QUERY", reason, "Send plain text.")
        # Viewers send an empty name where they have none.
        if key in NAME_KEYS and value:
            check_name(value, key)
        if key == "uncompress" and value.lower() not in ("0", "false", "no", "off", "f", "n", ""):
            raise Refused(400, "NO_ARCHIVES", "Archives are not unpacked.", "Send the image itself.")


def _is_path(name: str) -> bool:
    return name.startswith(".") or _NOT_IN_A_NAME.search(name) is not None


def _forms(text: str) -> list[str]:
    """Return a text as it is, as whoever decodes it once more sees it, twice more, and each in its normal form."""
    forms = [text]
    while len(forms) < 4 and (further := unquote(forms[-1])) != forms[-1]:
        forms.append(further)
    return [*forms, *(unicodedata.normalize("NFKC", form) for form in forms)]
