from dataclasses import dataclass

import pytest

from lib.data.files.tables import SpecError, build, listed, one_of


@dataclass(frozen=True)
class Box:
    name: str
    sides_mm: tuple[float, float]
    weights: tuple[int, ...] = ()
    note: str | None = None


def test_a_table_becomes_what_it_says() -> None:
    assert build(Box, {"name": "a", "sides_mm": [1, 2.5], "note": "x"}, "[box]") == Box("a", (1.0, 2.5), (), "x")
    assert build(Box, {"name": "a", "weights": [1, 2]}, "[box]", sides_mm=(0.0, 0.0)).weights == (1, 2)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (
            {"name": "a", "sides_mm": [1, 2], "colour": 1},
            r"\[box\] has no key colour; the keys are name, note, sides_mm",
        ),
        ({"name": "a"}, r"\[box\] needs sides_mm"),
        ({"name": 3, "sides_mm": [1, 2]}, "name takes str, got 3"),
        ({"name": "a", "sides_mm": [1]}, "sides_mm takes a list of 2"),
        ({"name": "a", "sides_mm": [1, True]}, "takes float, got True"),
        ({"name": "a", "sides_mm": [1, 2], "weights": [0.5]}, "takes int, got 0.5"),
    ],
)
def test_what_cannot_be_is_refused_with_what_there_is(block: dict, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        build(Box, block, "[box]")


def test_one_of_what_there_is() -> None:
    one_of("a", ("a", "b"), "[box] name")
    with pytest.raises(SpecError, match="is 'c'; there is a, b"):
        one_of("c", ("a", "b"), "[box] name")
    assert listed(["a", "b"]) == "a, b"
