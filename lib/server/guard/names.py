"""Check addresses and names: none may leave the store or be taken for a path by later code."""

import re
import unicodedata
from urllib.parse import parse_qsl, unquote

from starlette.types import Scope

from lib.server.refusals import Refused

MAX_NAME = 200
MAX_QUERY_FIELDS = 50
NAME_KEYS = ("image", "label", "id", "tag", "session_id", "model", "method", "strategy", "label_tag", "mend")
# Slash-like characters that Unicode normalisation leaves unchanged are listed; U+FFFD stands for invalid UTF-8.
_NOT_IN_A_NAME = re.compile("[/\\\\:\x00-\x1f\x7f-\x9f\u2028\u2029\u2044\u2215\u29f8\u29f9\ufffd\ud800-\udfff]")
_NOT_IN_A_VALUE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_IN_A_PATH = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\u2044\u2215\u29f8\u29f9\ufffd]")
_ENCODED_IN_A_PATH = re.compile(rb"%(?:2f|5c|25|00)", re.IGNORECASE)
_MODEL = re.compile(r"/model/[^/]+/?$")
_NOT_OFFERED = re.compile(r"/(?:reload|infer/wsi(?:_v2)?(?:/.*)?)/?$")
"""Whole-slide inference can read any path of this machine; a reload discards the app and is never needed."""


def check_name(value: str, what: str) -> None:
    """Refuse a name that could be a path, also after further URL decoding or Unicode normalisation.

    Args:
        value: An image id, label id, tag, session id or similar name.
        what: Kind of the name, for the answer.
    Raises:
        Refused: BAD_NAME, if the name contains a separator or control character, begins with a dot, or is too long.
    """
    if not 0 < len(value) <= MAX_NAME or any(_is_path(form) for form in _forms(value)):
        remedy = "Use a name from GET /datastore/?output=all, or one without path separators and control characters."
        raise Refused(400, "BAD_NAME", f"The {what} {value[:80]!r} is not a valid name.", remedy)


def check_address(scope: Scope) -> None:
    """Refuse a path that leaves its folder in any encoding, and routes that this server does not offer.

    Raises:
        Refused: BAD_PATH, NOT_OFFERED or MODEL_READ_ONLY.
    """
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
        raise Refused(400, "BAD_PATH", "The address leaves its folder.", "Use the address without '..'.")
    if _NOT_OFFERED.search(path):
        raise Refused(404, "NOT_OFFERED", f"This server does not offer {path[:80]}.", "GET / lists the addresses.")
    if scope["method"] in ("PUT", "DELETE") and _MODEL.search(path):
        remedy = "Start a training with POST /train/ instead."
        raise Refused(405, "MODEL_READ_ONLY", "Only a training may write weights.", remedy)


def check_query(scope: Scope) -> None:
    """Refuse a query with an invalid name or value, and a query that asks to unpack an archive.

    Raises:
        Refused: BAD_QUERY, BAD_NAME or NO_ARCHIVES.
    """
    query = scope.get("query_string", b"").decode("latin-1")
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        reason = f"The query has more than {MAX_QUERY_FIELDS} fields."
        raise Refused(400, "BAD_QUERY", reason, "Send only the parameters of the route; GET / lists them.") from None
    for key, value in fields:
        if _NOT_IN_A_VALUE.search(key + value):
            reason = f"The query field {key[:40]!r} contains control characters."
            raise Refused(400, "BAD_QUERY", reason, "Remove the control characters.")
        # Viewers send an empty value for a name that they do not have.
        if key in NAME_KEYS and value:
            check_name(value, key)
        if key == "uncompress" and value.lower() not in ("0", "false", "no", "off", "f", "n", ""):
            raise Refused(400, "NO_ARCHIVES", "The server does not unpack archives.", "Send the image file itself.")


def _is_path(name: str) -> bool:
    return name.startswith(".") or _NOT_IN_A_NAME.search(name) is not None


def _forms(text: str) -> list[str]:
    """Return a text, its results after up to three further URL decodings, and all of them in Unicode form NFKC."""
    forms = [text]
    while len(forms) < 4 and (further := unquote(forms[-1])) != forms[-1]:
        forms.append(further)
    return [*forms, *(unicodedata.normalize("NFKC", form) for form in forms)]
