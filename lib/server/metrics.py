"""What Prometheus reads at /metrics: few names, and few values of each label."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import Scope

REGISTRY = CollectorRegistry()
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)

disable_created_metrics()
ProcessCollector(registry=REGISTRY)
_requests = Counter(
    "topolabel_requests", "Requests by route and status", ("method", "route", "status"), registry=REGISTRY
)
_seconds = Histogram(
    "topolabel_request_seconds", "Time to answer", ("method", "route"), buckets=SECONDS, registry=REGISTRY
)
_refused = Counter("topolabel_refused", "Requests refused, by code", ("code",), registry=REGISTRY)


class Gauges(Collector):
    """Values that are looked up when somebody asks.

    Args:
        name: Of the metric.
        told: What it means.
        label: Name of its one label.
        read: Returns a value per value of the label.
    """

    def __init__(self, name: str, told: str, label: str, read: Callable[[], Iterable[tuple[str, float]]]) -> None:
        self._name, self._told, self._label, self._read = name, told, label, read
        REGISTRY.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the metric without values: nothing is looked up at start."""
        return [GaugeMetricFamily(self._name, self._told, labels=[self._label])]

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the metric with its values of now."""
        (family,) = self.describe()
        for value, number in self._read():
            family.add_metric([value], number)
        return [family]


def observe(scope: Scope, status: int, seconds: float, code: str = "") -> None:
    """Count a request that was answered.

    Args:
        scope: The request, as its route left it.
        status: Of the answer, 0 if there was none.
        seconds: What it took.
        code: Why it was refused, if it was.
    """
    method = scope["method"] if scope["method"] in METHODS else "other"
    # A route's template and not its address: addresses are as many as attackers like.
    route = str(getattr(scope.get("route"), "path", "none"))
    _requests.labels(method, route, str(status)).inc()
    _seconds.labels(method, route).observe(seconds)
    if code:
        _refused.labels(code).inc()
