"""The rate limits of a client."""

from typing import Any

import pytest

from lib.server.guard.rates import Rates
from lib.server.refusals import Refused


def scope(path: str, method: str = "GET", client: str = "10.0.0.1") -> Any:
    return {"method": method, "path": path, "client": (client, 1)}


def test_each_client_and_kind_is_counted_separately() -> None:
    rates = Rates({"infer": "3/minute", "upload": "1/minute"})
    for _ in range(3):
        rates.check(scope("/infer/tubes", "POST"))
    with pytest.raises(Refused, match="TOO_MANY_REQUESTS") as refused:
        rates.check(scope("/infer/tubes", "POST"))
    assert refused.value.status == 429 and 1 <= int(refused.value.headers["Retry-After"]) <= 60
    rates.check(scope("/infer/tubes", "POST", client="10.0.0.2"))
    rates.check(scope("/datastore/label", "PUT"))
    rates.check(scope("/info/"))
    with pytest.raises(Refused):
        rates.check(scope("/session/", "PUT"))


def test_health_checks_are_never_limited() -> None:
    rates = Rates({"rest": "1/hour"})
    for _ in range(5):
        rates.check(scope("/health"))


def test_settings_are_read_from_the_environment() -> None:
    rates = Rates.from_environment({"TOPOLABEL_RATES": "rest=1/hour, infer = 2/hour"})
    rates.check(scope("/info/"))
    with pytest.raises(Refused):
        rates.check(scope("/info/"))


@pytest.mark.parametrize("rates", ["infer=often", "clicks=1/minute", "infer"])
def test_invalid_rates_are_refused(rates: str) -> None:
    with pytest.raises(ValueError):
        Rates.from_environment({"TOPOLABEL_RATES": rates})
