"""Describe refusals in the OpenAPI schema (/openapi.json), in the same way for every route."""

from typing import Any

from fastapi import FastAPI

REFUSAL: dict[str, Any] = {
    "title": "Refusal",
    "type": "object",
    "required": ["code", "reason", "remedy", "detail", "request_id"],
    "properties": {
        "code": {"type": "string", "description": "Stable error code"},
        "reason": {"type": "string", "description": "What is wrong"},
        "remedy": {"type": "string", "description": "The next step for the user"},
        "detail": {"description": "Reason and remedy as one text, or the faults of each field"},
        "request_id": {"type": "string", "description": "Id of the request, as in X-Request-ID and in the log"},
        "findings": {"type": "array", "items": {"type": "object"}, "description": "All faults found in an image"},
    },
}
_ANSWER = {
    "description": "Refused",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}
_METHODS = ("get", "head", "post", "put", "patch", "delete")


def describe_refusals(app: FastAPI) -> None:
    """Add the format of refusals to the OpenAPI schema of an application.

    Args:
        app: The application, before its schema is requested for the first time.
    """
    original = app.openapi

    def openapi() -> dict[str, Any]:
        is_cached = app.openapi_schema is not None
        schema = original()
        if not is_cached:
            _add_refusals(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_refusals(schema: dict[str, Any]) -> None:
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    schemas["Refusal"] = REFUSAL
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in schema["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                answers = operation["responses"].items()
                kept = {status: answer for status, answer in answers if status.startswith(("2", "3"))}
                operation["responses"] = kept | {"4XX": _ANSWER, "503": _ANSWER}
