"""Many studies: what is done stays done, what fails is noted, and a large store is scored by lot."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lib.records.scores import CaseScore, Maker, Scores
from lib.tasks.spec import SpecError, TaskSpec
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies.score_cases import ScoreCases, Standing, Study, file_stamp, pooled, score_folder
from lib.tasks.strategies.scorer import Scorer

MAKER = Maker("seg", "v1", "s")


class Killed(BaseException):
    """Whoever is killed catches nothing."""


@pytest.fixture
def scorer(app_dir: Path, task: TaskSpec, starter: Path) -> Scorer:
    return Scorer(app_dir, replace(task, scores=ScoreSpec(samples=2)))


@pytest.fixture
def studies(write_ct: Callable[..., Path]) -> list[Study]:
    """Three without a label, one with."""
    paths = [write_ct(seed) for seed in range(4)]
    return [Study(path.name, "1", lambda path=path: path, labelled=number == 3) for number, path in enumerate(paths)]


def test_scores_each_and_embeds_the_labelled(app_dir: Path, scorer: Scorer, studies: list[Study]) -> None:
    told: list[Standing] = []
    scores = Scores(app_dir)
    answer = ScoreCases(scores, scorer, told.append).run(studies)
    assert answer | {"seconds": 0} == {
        "version": "starter", "scored": 3, "embedded": 4, "failed": 0, "of": 4, "gave_way": False, "seconds": 0,
    }  # fmt: skip
    found = scores.of(scorer.maker)
    assert [bool(found[study.name][1].numbers) for study in studies] == [True, True, True, False]
    fractions = [standing.fraction for standing in told]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == pytest.approx(1)
    assert told[0].eta_seconds is None and told[-1].eta_seconds == pytest.approx(0)
    assert str(told[0]) == "study 1 of 4" and str(told[-1]) == "study 4 of 4"


def test_after_a_kill_it_goes_on_with_what_is_left(app_dir: Path, scorer: Scorer, studies: list[Study]) -> None:
    def kill(standing: Standing) -> None:
        if standing.done == 2:
            raise Killed

    with pytest.raises(Killed):
        ScoreCases(Scores(app_dir), scorer, kill).run(studies)
    before = Scores(app_dir).of(scorer.maker)
    assert list(before) == [studies[0].name, studies[1].name]
    seen: list[str] = []
    told: list[Standing] = []
    counted = [replace(each, find=lambda each=each: seen.append(each.name) or each.find()) for each in studies]
    answer = ScoreCases(Scores(app_dir), scorer, told.append).run(counted)
    assert seen == [studies[2].name, studies[3].name] and answer["scored"] == 3
    assert told[0].done == 2 and told[0].fraction == pytest.approx(4 / 7), "2 samples each, and one for the labelled"
    assert ScoreCases(Scores(app_dir), scorer).run(counted)["of"] == 4 and len(seen) == 2


def test_a_new_version_begins_anew(app_dir: Path, scorer: Scorer, studies: list[Study]) -> None:
    ScoreCases(Scores(app_dir), scorer).run(studies[:1])
    scorer.maker = replace(scorer.maker, version="v2")
    assert ScoreCases(Scores(app_dir), scorer).run(studies[:1])["scored"] == 1
    assert Scores(app_dir).versions("tubes", scorer.maker.settings) == ["v2", "starter"]


def test_what_fails_is_noted_once_and_keeps_nobody(
    app_dir: Path, scorer: Scorer, studies: list[Study], tmp_path: Path
) -> None:
    (tmp_path / "torn.nii.gz").write_bytes(b"no image")
    torn = Study("torn", "1", lambda: tmp_path / "torn.nii.gz")
    gone = Study("gone", "1", lambda: tmp_path / "nowhere.nii.gz")
    answer = ScoreCases(Scores(app_dir), scorer).run([torn, gone, studies[0]])
    assert (answer["scored"], answer["failed"], answer["of"]) == (1, 2, 3)
    found = Scores(app_dir).of(scorer.maker)
    assert found["torn"][1].error and "nowhere" in found["gone"][1].error

    def never() -> Path:
        raise AssertionError("it is not looked at again")

    assert ScoreCases(Scores(app_dir), scorer).run([replace(torn, find=never)])["failed"] == 1


def test_the_same_bytes_are_scored_once(
    app_dir: Path, scorer: Scorer, studies: list[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    ScoreCases(Scores(app_dir), scorer).run(studies[:1])
    monkeypatch.setattr(scorer, "score", lambda *_: CaseScore(error="scored again"))
    copy = replace(studies[0], name="copy", stamp="2")
    assert ScoreCases(Scores(app_dir), scorer).run([copy])["failed"] == 0


def test_gives_way_between_two_studies(app_dir: Path, scorer: Scorer, studies: list[Study]) -> None:
    waits = iter([False, True])
    answer = ScoreCases(Scores(app_dir), scorer, gives_way=lambda: next(waits)).run(studies)
    assert answer["gave_way"] and answer["scored"] == 1


def test_a_folder_without_a_server(
    app_dir: Path, task: TaskSpec, starter: Path, write_ct: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "studies"
    for seed in range(2):
        path = write_ct(seed, folder=folder)
    write_ct(2, folder=folder, label_folder=folder / "labels" / "final")
    path.write_bytes(b"torn")
    answer = score_folder(app_dir, task, folder, device="cpu", tell=lambda _: None)
    assert (answer["scored"], answer["embedded"], answer["failed"]) == (1, 2, 1)
    assert set(answer["cases"]) == {"ct_0", "ct_1"} and set(answer["cases"]["ct_1"]) == {"error"}
    assert answer["cases"]["ct_0"]["all"]["entropy_top"] > 0
    with pytest.raises(SpecError, match="to score cases, name a task of kind"):
        score_folder(app_dir, replace(task, kind="click"), folder, device="cpu", tell=lambda _: None)


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert file_stamp(file) == "gone"
    file.write_bytes(b"1")
    before = file_stamp(file)
    file.write_bytes(b"12")
    assert before != file_stamp(file) != "gone"


IMAGES = [f"ct_{number:03d}" for number in range(100)]


def test_all_of_a_small_store_are_scored() -> None:
    assert pooled(IMAGES, IMAGES[:20], MAKER, 20) == IMAGES[:20]
    assert pooled(IMAGES, IMAGES, MAKER, 0) == IMAGES


def test_a_large_one_by_lot_that_a_label_does_not_move() -> None:
    first = pooled(IMAGES, IMAGES, MAKER, 10)
    assert len(first) == 10 and first != IMAGES[:10]
    left = [image for image in IMAGES if image != first[0]]
    assert pooled(IMAGES, left, MAKER, 10) == first[1:], "no other case is drawn in for the one that got its label"
    assert pooled(IMAGES, IMAGES, replace(MAKER, version="v2"), 10) != first, "the next version draws anew"
    rest = [image for image in IMAGES if image not in first]
    assert len(pooled(IMAGES, rest, MAKER, 10)) == 10, "once all that were drawn have labels, others are"
