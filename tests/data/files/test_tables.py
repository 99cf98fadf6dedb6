from dataclasses import dataclass

import pytest

from lib.data.files.tables import SpecError, build_dataclass, check_choice, join_words


@dataclass(frozen=True)
class Box:
    name: str
    sides_mm: tuple[float, float]
    weights: tuple[int, ...] = ()
    note: str | None = None


def test_table_becomes_a_dataclass() -> None:
    assert build_dataclass(Box, {"name": "a", "sides_mm": [1, 2.5], "note": "x"}, "[box]") == Box(
        "a", (1.0, 2.5), (), "x"
    )
    assert build_dataclass(Box, {"name": "a", "weights": [1, 2]}, "[box]", sides_mm=(0.0, 0.0)).weights == (1, 2)


@pytest.mark.parametrize(
    ("block", "message"),
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
def test_bad_table_is_refused_with_the_accepted_keys_or_types(block: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_dataclass(Box, block, "[box]")


def test_choice_is_checked() -> None:
    check_choice("a", ("a", "b"), "[box] name")
    with pytest.raises(SpecError, match="is 'c'; the choices are a, b"):
        check_choice("c", ("a", "b"), "[box] name")
    assert join_words(["a", "b"]) == "a, b"
