"""Scores by image content and model version: a renamed image keeps its score, a replaced one does not."""

from pathlib import Path

import pytest

from lib.records.database import LedgerUnavailable
from lib.records.scores import VERSIONS_KEPT, CaseScore, Scores, ScoreSource

OLD, NEW = ScoreSource("seg", "v1", "s"), ScoreSource("seg", "v2", "s")
SCORE = CaseScore({"all": {"entropy_top": 0.5, "fragility": None}, "classes": {}}, [0.25, -1.0])


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return Scores(tmp_path)


def test_reading_an_empty_table_returns_nothing_and_creates_no_file(scores: Scores) -> None:
    assert scores.find_hash("a", "1") == "" and scores.get("f" * 64, OLD) is None
    assert scores.by_image(OLD) == {} and scores.versions("seg", "s") == [] and not scores.file.exists()


def test_a_stored_score_is_readable_from_another_instance(scores: Scores, tmp_path: Path) -> None:
    scores.record_image("a", "stamp", "aa")
    scores.put("aa", OLD, SCORE)
    other = Scores(tmp_path)
    assert other.find_hash("a", "stamp") == "aa" and other.get("aa", OLD) == SCORE
    assert other.by_image(OLD) == {"a": ("stamp", SCORE)} and other.get("aa", NEW) is None and other.by_image(NEW) == {}


def test_two_images_with_the_same_bytes_share_one_score(scores: Scores) -> None:
    for name in ("a", "copy"):
        scores.record_image(name, name, "aa")
    scores.put("aa", OLD, SCORE)
    assert scores.by_image(OLD) == {"a": ("a", SCORE), "copy": ("copy", SCORE)}


def test_the_hash_of_a_replaced_file_is_unknown(scores: Scores) -> None:
    scores.record_image("a", "before", "aa")
    assert scores.find_hash("a", "after") == ""
    scores.record_image("a", "after", "bb")
    assert scores.find_hash("a", "after") == "bb" and scores.find_hash("a", "before") == ""


def test_a_score_replaces_an_earlier_one(scores: Scores) -> None:
    scores.put("aa", OLD, CaseScore(embedding=[1.0]))
    scores.put("aa", OLD, SCORE)
    assert scores.get("aa", OLD) == SCORE


@pytest.mark.parametrize(
    ("score", "done"), [(SCORE, True), (CaseScore(error="cut off"), True), (CaseScore(embedding=[1.0]), False)]
)
def test_a_score_is_done_with_numbers_or_an_error(score: CaseScore, done: bool) -> None:
    assert score.done is done


def test_scores_of_the_newest_versions_are_kept(scores: Scores) -> None:
    for number in range(6):
        scores.put("aa", ScoreSource("seg", f"v{number}", "s"), SCORE)
    scores.put("aa", ScoreSource("seg", "v5", "other settings"), SCORE)
    scores.put("aa", ScoreSource("another", "v0", "s"), SCORE)
    assert scores.versions("seg", "s") == ["v5", "v4", "v3", "v2", "v1", "v0"]
    scores.delete_stale(ScoreSource("seg", "v5", "s"))
    assert scores.versions("seg", "s") == ["v5", "v4", "v3"] and VERSIONS_KEPT == 3
    assert scores.versions("seg", "other settings") == [] and scores.versions("another", "s") == ["v0"]


def test_scores_of_the_served_version_are_kept_however_old_it_is(scores: Scores) -> None:
    for number in range(6):
        scores.put("aa", ScoreSource("seg", f"v{number}", "s"), SCORE)
    scores.delete_stale(ScoreSource("seg", "v0", "s"))
    assert scores.versions("seg", "s") == ["v5", "v4", "v3", "v0"]


def test_a_file_that_is_no_database_is_reported(scores: Scores) -> None:
    scores.file.parent.mkdir(parents=True)
    scores.file.write_bytes(b"no database" * 100)
    with pytest.raises(LedgerUnavailable, match="the scores cannot be read"):
        scores.by_image(OLD)
