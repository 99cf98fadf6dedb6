"""Metrics for Prometheus."""

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from lib.server import metrics
from lib.server.metrics import REGISTRY, CallbackGauge, observe


@pytest.fixture(autouse=True)
def no_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the gauges of an app: other tests may have registered them, and no app is served here."""
    own = [each for each in list(REGISTRY._collector_to_names) if not isinstance(each, CallbackGauge)]
    registry = CollectorRegistry()
    for each in own:
        registry.register(each)
    monkeypatch.setattr("lib.server.metrics.REGISTRY", registry)


def figures() -> str:
    return generate_latest(metrics.REGISTRY).decode()


def test_a_route_is_counted_by_its_template() -> None:
    for number in range(3):
        scope = {"method": "GET", "path": f"/thing/{number}", "route": SimpleNamespace(path="/thing/{id}")}
        observe(scope, 200, 0.2)
    text = figures()
    assert 'topolabel_requests_total{method="GET",route="/thing/{id}",status="200"} 3.0' in text
    assert 'topolabel_request_seconds_bucket{le="0.1",method="GET",route="/thing/{id}"} 0.0' in text
    assert "/thing/1" not in text


def test_attackers_cannot_create_new_label_values() -> None:
    for number in range(50):
        observe({"method": f"X{number}", "path": f"/{number}"}, 404, 0.0, "NOT_FOUND")
    assert 'topolabel_requests_total{method="other",route="none",status="404"} 50.0' in figures()


def test_gauges_are_read_at_every_scrape() -> None:
    values = {"a": 1.0}
    CallbackGauge("topolabel_test_gauge", "A test", "kind", lambda: values.items())
    values["a"] = 7.0
    assert 'topolabel_test_gauge{kind="a"} 7.0' in figures()


def test_memory_is_among_the_metrics() -> None:
    assert "process_resident_memory_bytes" in figures()
