"""The OpenAPI schema describes refusals."""

from fastapi import FastAPI

from lib.server.schema import describe_refusals


def test_every_route_describes_its_refusals() -> None:
    app = FastAPI()

    @app.post("/x/{number}", responses={404: {"description": "Not found"}})
    def x(number: int) -> int:
        return number

    describe_refusals(app)
    for _ in range(2):
        schema = app.openapi()
        responses = schema["paths"]["/x/{number}"]["post"]["responses"]
        assert set(responses) == {"200", "4XX", "503"}
        assert "HTTPValidationError" not in str(schema)
        assert {"code", "remedy", "request_id"} <= set(schema["components"]["schemas"]["Refusal"]["required"])
