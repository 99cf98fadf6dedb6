"""JSON values from clients."""

import pytest

from lib.server.guard.values import check_values, read_object
from lib.server.refusals import Refused


@pytest.mark.parametrize("text", ["", "{}", '{"a": [1, 2.5, "x\\n", null, true, {"b": -1}]}', '{"ü": "体😀"}'])
def test_json_objects_are_accepted(text: str) -> None:
    assert isinstance(read_object(text), dict)


BAD = [
    "{",
    "[]",
    "7",
    "null",
    '"x"',
    '{"a": NaN}',
    '{"a": Infinity}',
    '{"a": 1e999}',
    '{"a": 9223372036854775808}',
    '{"a": ' + "9" * 5000 + "}",
    '{"a": ' + "[" * 17 + "]" * 17 + "}",
    '{"a": ' + "[" * 200_000,
    '{"a": "\\u0000"}',
    '{"a": "\\ud800"}',
    '{"\\ud800": 1}',
    '{"\\u0000": 1}',
    "\ufeff{}",
]


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:30])
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(Refused, match="BAD_PARAMS") as refused:
        read_object(text)
    assert refused.value.status == 400 and len(refused.value.body["reason"]) < 300


def test_values_parsed_by_the_framework_are_checked() -> None:
    check_values(None)
    check_values({"a": ["b"]})
    with pytest.raises(Refused):
        check_values({"a": float("nan")})
