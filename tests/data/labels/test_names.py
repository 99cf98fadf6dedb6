"""Names of values in every form that clients send: honoured where they are clear, refused otherwise."""

import json
from typing import Any

import pytest

from lib.data.findings import InputRejected
from lib.data.labels.names import (
    NamedValue,
    check_label_info,
    check_named_once,
    describe_values,
    find_value,
    map_label_info,
    map_segments,
    parse_label_info,
)
from lib.data.labels.slicer_segments import Segment

VALUES = {"nasal_cavity": 1, "sinuses": 2, "pharynx": 3, "larynx": 4, "trachea": 5}
PAIR = [NamedValue("trachea", 1), NamedValue("pharynx", 2)]


@pytest.mark.parametrize(
    "sent",
    [
        [{"name": "trachea", "idx": 1}, {"name": "pharynx", "idx": 2}],
        [{"name": "trachea", "idx": 1.0, "color": [1, 2, 3]}, {"name": " pharynx ", "idx": "2"}],
        {"trachea": 1, "pharynx": 2},
        {"trachea": 1.0, "pharynx": "2.0"},
        {"1": "trachea", "2": "pharynx"},
        json.dumps([{"name": "trachea", "idx": 1}, {"name": "pharynx", "idx": 2}]),
        json.dumps({"trachea": 1, "pharynx": 2}),
    ],
)
def test_all_forms_give_the_same_names(sent: Any) -> None:
    assert parse_label_info(sent) == PAIR


@pytest.mark.parametrize("sent", [None, "", [], {}, "[]", "null", " "])
def test_nothing_sent_gives_no_names(sent: Any) -> None:
    assert parse_label_info(sent) == []


def test_names_without_values_are_read() -> None:
    assert parse_label_info(["trachea"]) == parse_label_info([{"name": "trachea"}]) == [NamedValue("trachea", None)]
    assert parse_label_info({"name": "trachea", "idx": 4}) == [NamedValue("trachea", 4)]


@pytest.mark.parametrize(
    "sent",
    [
        "trachea",
        "[" * 100_000,
        7,
        True,
        [7],
        [None],
        [""],
        [["trachea", 1]],
        [{"idx": 1}],
        [{"name": ["trachea"], "idx": 1}],
        [{"name": "trachea", "idx": 1.5}],
        [{"name": "trachea", "idx": True}],
        [{"name": "trachea", "idx": -1}],
        [{"name": "trachea", "idx": "first"}],
        [{"name": "trachea", "idx": 1e999}],
        {"trachea": {"idx": 1}},
        {"1": 2},
        {"trachea": "windpipe"},
        {"": 1},
    ],
)
def test_other_forms_are_refused_with_what_was_sent(sent: Any) -> None:
    with pytest.raises(InputRejected) as caught:
        parse_label_info(sent)
    (finding,) = caught.value.findings
    assert finding.code == "LABEL_NAMES" and "label_info" in finding.reason and "idx" in finding.remedy


@pytest.mark.parametrize(
    ("sent", "present", "table"),
    [
        ({"trachea": 1, "pharynx": 2}, {0: 9, 1: 5, 2: 5}, {0: 0, 1: 5, 2: 3}),
        ({"trachea": 300, "pharynx": 500}, {0: 9, 300: 5, 500: 5}, {0: 0, 300: 5, 500: 3}),
        ({"Trachea": 1, "Nasal Cavity": 2}, {1: 5, 2: 5}, {1: 5, 2: 1}),
        ({"trachea": 1, "liver": 2}, {0: 9, 1: 5}, {0: 0, 1: 5}),
        ({"background": 0, "trachea": 1}, {0: 9, 1: 5}, {0: 0, 1: 5}),
        ({"trachea": 1}, {1: 5, 255: 7}, {1: 5, 255: 255}),
        ({"trachea": 1, "ignore": 2}, {1: 5, 2: 7}, {1: 5, 2: 255}),
        ({"trachea": 255}, {0: 9, 255: 7}, {0: 0, 255: 5}),
        ([{"name": "trachea", "idx": 1}, {"name": "Trachea", "idx": 1}], {1: 5}, {1: 5}),
        (["trachea"], {0: 9, 1: 5}, {0: 0, 1: 5}),
        (["trachea"], {0: 9, 5: 5}, {0: 0, 5: 5}),
        (["trachea", "pharynx"], {0: 9, 1: 5, 2: 5}, {0: 0, 1: 5, 2: 3}),
        (["background", "trachea"], {0: 9, 1: 5}, {0: 0, 1: 5}),
        (list(VALUES), {0: 9, 3: 5, 5: 5}, {0: 0, 3: 3, 5: 5}),
        (["trachea"], {0: 9}, {0: 0}),
    ],
)
def test_clear_names_are_honoured(sent: Any, present: dict[int, int], table: dict[int, int]) -> None:
    assert map_label_info(parse_label_info(sent), present, VALUES) == table


@pytest.mark.parametrize(
    ("sent", "present", "text"),
    [
        ({"liver": 1, "spleen": 2}, {1: 5, 2: 5}, "'liver', 'spleen' are no labels"),
        ({"trachea": 1}, {0: 9, 1: 5, 2: 1234}, r"value 2 \(1,234 voxels\) has no name"),
        (
            [{"name": "trachea", "idx": 1}, {"name": "larynx", "idx": 1}],
            {1: 5},
            "value 1 the names 'trachea', 'larynx'",
        ),
        ([{"name": "trachea", "idx": 1}, {"name": "trachea", "idx": 2}], {1: 5, 2: 5}, "2 segments .* 'trachea'"),
        ({"trachea": 0, "larynx": 1}, {0: 9, 1: 5}, "background, value 0, 'trachea'"),
        ([{"name": "trachea", "idx": 1}, "larynx"], {1: 5}, "others have none"),
        (["trachea"], {0: 9, 3: 5}, "do not fit"),
        (["larynx", "trachea"], {3: 5}, "do not fit"),
        (list(VALUES)[::-1], {3: 5, 5: 5}, "several values"),
    ],
)
def test_unclear_names_are_refused(sent: Any, present: dict[int, int], text: str) -> None:
    with pytest.raises(InputRejected, match=text) as caught:
        map_label_info(parse_label_info(sent), present, VALUES)
    assert caught.value.findings[0].code == "LABEL_NAMES" and caught.value.findings[0].remedy


def test_segments_of_a_header_are_mapped_by_their_names() -> None:
    segments = [Segment("Trachea", "", 0, 1), Segment("liver", "", 0, 2), Segment("a", "Pharynx", 0, 3, True)]
    assert map_segments(segments, {0: 9, 1: 5, 3: 5, 255: 1}, VALUES) == {0: 0, 1: 5, 3: 3, 255: 255}


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        (Segment("liver", "", 0, 1), "'liver' is no label"),
        (Segment("leak", "Trachea", 0, 1), "'leak' is no label"),
        (Segment("larynx", "Trachea", 0, 1), "two labels of the app"),
        (Segment("trachea", "", 0, 2), "value 1 .* has no name in the header"),
    ],
)
def test_segments_that_are_no_label_are_refused(segment: Segment, text: str) -> None:
    with pytest.raises(InputRejected, match=text):
        map_segments([segment], {0: 9, 1: 5}, VALUES)


def test_the_same_name_in_two_layers_is_refused() -> None:
    check_named_once([{0: 0, 1: 5}, {0: 0, 1: 4}], VALUES)
    with pytest.raises(InputRejected, match=r"2 segments .* 'trachea'"):
        check_named_once([{0: 0, 1: 5}, {0: 0, 1: 5}], VALUES)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ({"trachea": 2, "pharynx": 1}, "value 1 'trachea', label_info 'pharynx'"),
        (["trachea"], "'pharynx', which label_info does not name"),
        ({"liver": 1, "trachea": 7, "pharynx": 2}, "value 1 'trachea', label_info 'liver'"),
    ],
)
def test_names_that_contradict_the_header_are_refused(sent: Any, text: str) -> None:
    table = {0: 0, 1: 5, 2: 3}
    for agreeing in ([], ["pharynx", "trachea"], {"trachea": 1, "pharynx": 2}):
        check_label_info(parse_label_info(agreeing), table, [0, 3, 5], VALUES)
    with pytest.raises(InputRejected, match=text):
        check_label_info(parse_label_info(sent), table, [0, 3, 5], VALUES)


def test_values_of_layers_are_not_compared_with_the_values_of_a_client() -> None:
    check_label_info(parse_label_info({"trachea": 2, "pharynx": 1}), None, [0, 3, 5], VALUES)


def test_names_match_whatever_their_case_and_separators() -> None:
    assert find_value(["NASAL-cavity"], VALUES) == find_value(["", "nasal  cavity"], VALUES) == 1
    assert find_value(["nasal"], VALUES) is None and find_value([], VALUES) is None
    assert find_value(["a b"], {"a_b": 1, "a b": 2}) == 2, "the exact name first"


def test_saved_names_have_the_values_of_the_app() -> None:
    sent = [{"name": "Trachea", "idx": 1, "color": "red"}, "larynx", {"idx": 2}]
    found = describe_values(sent, {"larynx": 4, "trachea": 5})
    assert found == [{"name": "larynx", "idx": 4}, {"name": "trachea", "idx": 5, "color": "red"}]
    assert describe_values({"trachea": 1}, {"trachea": 5}) == [{"name": "trachea", "idx": 5}]
