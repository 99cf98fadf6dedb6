"""What the description of the interface (/openapi.json) says of refusals: the same of every address."""

from typing import Any

from fastapi import FastAPI

REFUSAL: dict[str, Any] = {
    "title": "Refusal",
    "type": "object",
    "required": ["code", "reason", "remedy", "detail", "request_id"],
    "properties": {
        "code": {"type": "string", "description": "Stable name of the reason"},
        "reason": {"type": "string", "description": "What is wrong"},
        "remedy": {"type": "string", "description": "What to do about it"},
        "detail": {"description": "Reason and remedy as one text, or the faults of each field"},
        "request_id": {"type": "string", "description": "As X-Request-ID, and as in the log"},
        "findings": {"type": "array", "items": {"type": "object"}, "description": "All that is wrong with an image"},
    },
}
_ANSWER = {
    "description": "Refused",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}
_METHODS = ("get", "head", "post", "put", "patch", "delete")


def describe_refusals(app: FastAPI) -> None:
    """Let an application's description name what it answers instead of a result.

    Args:
        app: Before its description was asked for.
    """
    theirs = app.openapi

    def openapi() -> dict[str, Any]:
        made = app.openapi_schema is not None
        schema = theirs()
        if not made:
            _put_in(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _put_in(schema: dict[str, Any]) -> None:
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas["Refusal"] = REFUSAL
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in schema["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                kept = {code: told for code, told in operation["responses"].items() if code.startswith(("2", "3"))}
                operation["responses"] = kept | {"4XX": _ANSWER, "503": _ANSWER}
