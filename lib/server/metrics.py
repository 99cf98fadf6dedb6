"""The metrics that Prometheus reads at /metrics; each label has few values."""

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


class CallbackGauge(Collector):
    """A gauge whose values are read at every scrape.

    Args:
        name: Name of the metric.
        description: Description of the metric.
        label: Name of its only label.
        read: Returns pairs of a label value and a number.
    """

    def __init__(
        self, name: str, description: str, label: str, read: Callable[[], Iterable[tuple[str, float]]]
    ) -> None:
        self._name, self._description, self._label, self._read = name, description, label, read
        REGISTRY.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the metric without values: nothing is read at start-up."""
        return [GaugeMetricFamily(self._name, self._description, labels=[self._label])]

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the metric with its current values."""
        (family,) = self.describe()
        for label_value, number in self._read():
            family.add_metric([label_value], number)
        return [family]


def observe(scope: Scope, status: int, seconds: float, code: str = "") -> None:
    """Count an answered request.

    Args:
        scope: ASGI scope of the request, after routing.
        status: HTTP status of the answer, 0 if there was none.
        seconds: Time to answer, in seconds.
        code: Error code if the request was refused; empty otherwise.
    """
    method = scope["method"] if scope["method"] in METHODS else "other"
    # The route's template, not the address: an attacker could create any number of addresses.
    route = str(getattr(scope.get("route"), "path", "none"))
    _requests.labels(method, route, str(status)).inc()
    _seconds.labels(method, route).observe(seconds)
    if code:
        _refused.labels(code).inc()
