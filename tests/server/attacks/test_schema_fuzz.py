"""Every route with values that the OpenAPI schema allows and forbids: no server fault and no hang."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

pytestmark = pytest.mark.server
SECONDS = 20
QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@pytest.fixture(scope="module")
def operations(server: Any) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.fixture(scope="module", autouse=True)
def still_there(server: Any) -> Iterator[None]:
    yield
    assert requests.get(f"{server.url}/info/", timeout=SECONDS).ok
    assert "ct_0" in requests.get(f"{server.url}/datastore/?output=all", timeout=SECONDS).json()["objects"]


def fuzz(server: Any, operation: Any, mode: GenerationMode, examples: int) -> None:
    @settings(max_examples=examples, phases=[Phase.generate], **QUIET)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # Waiting for the end of a job is not a hang.
        if isinstance(case.query, dict):
            case.query.pop("run_sync", None)
        answer = case.call(base_url=server.url, timeout=SECONDS)
        case.validate_response(answer, checks=[not_a_server_error, response_schema_conformance])

    try:
        ask()
    except Exception as error:
        # An operation without parameters has nothing to vary.
        if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):
            raise


def run(server: Any, operations: list[Any], examples: int) -> None:
    assert len(operations) > 25, "all routes of MONAI Label and TopoLabel"
    for operation in operations:
        for mode in GenerationMode:
            fuzz(server, operation, mode, examples)


def test_a_few_of_each(server: Any, operations: list[Any]) -> None:
    run(server, operations, 4)


@pytest.mark.slow
def test_many_of_each(server: Any, operations: list[Any]) -> None:
    run(server, operations, 150)
