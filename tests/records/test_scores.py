"""Scores by bytes and version: what is renamed stays known, what is replaced does not."""

from pathlib import Path

import pytest

from lib.records.engine import LedgerUnavailable
from lib.records.scores import VERSIONS_KEPT, CaseScore, Maker, Scores

OLD, NEW = Maker("seg", "v1", "s"), Maker("seg", "v2", "s")
SCORE = CaseScore({"all": {"entropy_top": 0.5, "fragility": None}, "classes": {}}, [0.25, -1.0])


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return Scores(tmp_path)


def test_nothing_is_known_and_nothing_written_before_the_first(scores: Scores) -> None:
    assert scores.known("a", "1") == "" and scores.get("f" * 64, OLD) is None
    assert scores.of(OLD) == {} and scores.versions("seg", "s") == [] and not scores.file.exists()


def test_what_is_put_is_there_for_another_process(scores: Scores, tmp_path: Path) -> None:
    scores.name("a", "stamp", "aa")
    scores.put("aa", OLD, SCORE)
    other = Scores(tmp_path)
    assert other.known("a", "stamp") == "aa" and other.get("aa", OLD) == SCORE
    assert other.of(OLD) == {"a": ("stamp", SCORE)} and other.get("aa", NEW) is None and other.of(NEW) == {}


def test_two_names_of_the_same_bytes_have_one_score(scores: Scores) -> None:
    for name in ("a", "copy"):
        scores.name(name, name, "aa")
    scores.put("aa", OLD, SCORE)
    assert scores.of(OLD) == {"a": ("a", SCORE), "copy": ("copy", SCORE)}


def test_a_file_that_was_replaced_is_not_known(scores: Scores) -> None:
    scores.name("a", "before", "aa")
    assert scores.known("a", "after") == ""
    scores.name("a", "after", "bb")
    assert scores.known("a", "after") == "bb" and scores.known("a", "before") == ""


def test_a_score_takes_the_place_of_a_former_one(scores: Scores) -> None:
    scores.put("aa", OLD, CaseScore(embedding=[1.0]))
    scores.put("aa", OLD, SCORE)
    assert scores.get("aa", OLD) == SCORE


@pytest.mark.parametrize(
    ("score", "done"), [(SCORE, True), (CaseScore(error="cut off"), True), (CaseScore(embedding=[1.0]), False)]
)
def test_done(score: CaseScore, done: bool) -> None:
    assert score.done is done


def test_keeps_the_versions_at_work_last(scores: Scores) -> None:
    for number in range(6):
        scores.put("aa", Maker("seg", f"v{number}", "s"), SCORE)
    scores.put("aa", Maker("seg", "v5", "other settings"), SCORE)
    scores.put("aa", Maker("another", "v0", "s"), SCORE)
    assert scores.versions("seg", "s") == ["v5", "v4", "v3", "v2", "v1", "v0"]
    scores.tidy(Maker("seg", "v5", "s"))
    assert scores.versions("seg", "s") == ["v5", "v4", "v3"] and VERSIONS_KEPT == 3
    assert scores.versions("seg", "other settings") == [] and scores.versions("another", "s") == ["v0"]


def test_a_version_served_again_is_kept_however_old(scores: Scores) -> None:
    for number in range(6):
        scores.put("aa", Maker("seg", f"v{number}", "s"), SCORE)
    scores.tidy(Maker("seg", "v0", "s"))
    assert scores.versions("seg", "s") == ["v5", "v4", "v3", "v0"]


def test_a_file_that_is_no_table_is_told(scores: Scores) -> None:
    scores.file.parent.mkdir(parents=True)
    scores.file.write_bytes(b"no database" * 100)
    with pytest.raises(LedgerUnavailable, match="the scores cannot be read"):
        scores.of(OLD)
