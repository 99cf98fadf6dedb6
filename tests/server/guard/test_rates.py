"""How often one client may ask."""

from typing import Any

import pytest

from lib.server.guard.rates import Rates
from lib.server.refusals import Refused


def scope(path: str, method: str = "GET", client: str = "10.0.0.1") -> Any:
    return {"method": method, "path": path, "client": (client, 1)}


def test_each_client_and_each_kind_has_its_own() -> None:
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


def test_whether_it_lives_is_never_limited() -> None:
    rates = Rates({"rest": "1/hour"})
    for _ in range(5):
        rates.check(scope("/health"))


def test_what_the_environment_says() -> None:
    rates = Rates.of({"TOPOLABEL_RATES": "rest=1/hour, infer = 2/hour"})
    rates.check(scope("/info/"))
    with pytest.raises(Refused):
        rates.check(scope("/info/"))


@pytest.mark.parametrize("said", ["infer=often", "clicks=1/minute", "infer"])
def test_nonsense_is_said_at_start(said: str) -> None:
    with pytest.raises(ValueError):
        Rates.of({"TOPOLABEL_RATES": said})
