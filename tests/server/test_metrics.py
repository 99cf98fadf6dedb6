"""Figures for Prometheus."""

from types import SimpleNamespace

from prometheus_client import generate_latest

from lib.server.metrics import REGISTRY, Gauges, observe


def figures() -> str:
    return generate_latest(REGISTRY).decode()


def test_a_route_is_counted_by_its_template() -> None:
    for number in range(3):
        scope = {"method": "GET", "path": f"/thing/{number}", "route": SimpleNamespace(path="/thing/{id}")}
        observe(scope, 200, 0.2)
    told = figures()
    assert 'topolabel_requests_total{method="GET",route="/thing/{id}",status="200"} 3.0' in told
    assert 'topolabel_request_seconds_bucket{le="0.1",method="GET",route="/thing/{id}"} 0.0' in told
    assert "/thing/1" not in told


def test_attackers_make_no_new_names() -> None:
    for number in range(50):
        observe({"method": f"X{number}", "path": f"/{number}"}, 404, 0.0, "NOT_FOUND")
    assert 'topolabel_requests_total{method="other",route="none",status="404"} 50.0' in figures()


def test_gauges_are_looked_up_when_asked_for() -> None:
    values = {"a": 1.0}
    gauges = Gauges("topolabel_test_gauge", "A test", "kind", lambda: values.items())
    values["a"] = 7.0
    assert 'topolabel_test_gauge{kind="a"} 7.0' in figures()
    REGISTRY.unregister(gauges)


def test_memory_is_among_them() -> None:
    assert "process_resident_memory_bytes" in figures()
