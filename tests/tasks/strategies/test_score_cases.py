"""Scoring many studies: it resumes, records failures, and draws a pool from a large store."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lib.records.scores import CaseScore, Scores, ScoreSource
from lib.tasks.spec import SpecError, TaskSpec
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies.score_cases import ScoreCases, ScoringProgress, Study, file_stamp, score_folder, select_pool
from lib.tasks.strategies.scorer import Scorer

MAKER = ScoreSource("seg", "v1", "s")


class Killed(BaseException):
    """Simulates a kill: no handler for Exception catches it."""


@pytest.fixture
def scorer(app_dir: Path, task: TaskSpec, starter: Path) -> Scorer:
    return Scorer(app_dir, replace(task, scores=ScoreSpec(samples=2)))


@pytest.fixture
def studies(write_ct: Callable[..., Path]) -> list[Study]:
    """Three studies without a label and one with a label."""
    paths = [write_ct(seed) for seed in range(4)]
    return [Study(path.name, "1", lambda path=path: path, labelled=number == 3) for number, path in enumerate(paths)]


def test_unlabelled_studies_are_scored_and_labelled_ones_only_embedded(
    app_dir: Path, scorer: Scorer, studies: list[Study]
) -> None:
    reports: list[ScoringProgress] = []
    scores = Scores(app_dir)
    answer = ScoreCases(scores, scorer, reports.append).run(studies)
    assert answer | {"seconds": 0} == {
        "version": "starter", "scored": 3, "embedded": 4, "failed": 0, "of": 4, "gave_way": False, "seconds": 0,
    }  # fmt: skip
    found = scores.by_image(scorer.source)
    assert [bool(found[study.name][1].numbers) for study in studies] == [True, True, True, False]
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == pytest.approx(1)
    assert reports[0].eta_seconds is None and reports[-1].eta_seconds == pytest.approx(0)
    assert str(reports[0]) == "study 1 of 4" and str(reports[-1]) == "study 4 of 4"


def test_after_a_kill_only_missing_studies_are_scored(app_dir: Path, scorer: Scorer, studies: list[Study]) -> None:
    def kill(report: ScoringProgress) -> None:
        if report.done == 2:
            raise Killed

    with pytest.raises(Killed):
        ScoreCases(Scores(app_dir), scorer, kill).run(studies)
    before = Scores(app_dir).by_image(scorer.source)
    assert list(before) == [studies[0].name, studies[1].name]
    seen: list[str] = []
    reports: list[ScoringProgress] = []
    counted = [replace(study, find=lambda study=study: seen.append(study.name) or study.find()) for study in studies]
    answer = ScoreCases(Scores(app_dir), scorer, reports.append).run(counted)
    assert seen == [studies[2].name, studies[3].name] and answer["scored"] == 3
    assert reports[0].done == 2 and reports[0].fraction == pytest.approx(4 / 7), "2 passes a study, 1 if labelled"
    assert ScoreCases(Scores(app_dir), scorer).run(counted)["of"] == 4 and len(seen) == 2


def test_a_new_version_scores_all_studies_again(app_dir: Path, scorer: Scorer, studies: list[Study]) -> None:
    ScoreCases(Scores(app_dir), scorer).run(studies[:1])
    scorer.source = replace(scorer.source, version="v2")
    assert ScoreCases(Scores(app_dir), scorer).run(studies[:1])["scored"] == 1
    assert Scores(app_dir).versions("tubes", scorer.source.settings) == ["v2", "starter"]


def test_a_failure_is_recorded_once_and_does_not_stop_the_others(
    app_dir: Path, scorer: Scorer, studies: list[Study], tmp_path: Path
) -> None:
    (tmp_path / "torn.nii.gz").write_bytes(b"no image")
    torn = Study("torn", "1", lambda: tmp_path / "torn.nii.gz")
    gone = Study("gone", "1", lambda: tmp_path / "nowhere.nii.gz")
    answer = ScoreCases(Scores(app_dir), scorer).run([torn, gone, studies[0]])
    assert (answer["scored"], answer["failed"], answer["of"]) == (1, 2, 3)
    found = Scores(app_dir).by_image(scorer.source)
    assert found["torn"][1].error and "nowhere" in found["gone"][1].error

    def never() -> Path:
        raise AssertionError("a failed study must not be read again")

    assert ScoreCases(Scores(app_dir), scorer).run([replace(torn, find=never)])["failed"] == 1


def test_the_same_bytes_are_scored_once(
    app_dir: Path, scorer: Scorer, studies: list[Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    ScoreCases(Scores(app_dir), scorer).run(studies[:1])
    monkeypatch.setattr(scorer, "score", lambda *_: CaseScore(error="scored again"))
    copy = replace(studies[0], name="copy", stamp="2")
    assert ScoreCases(Scores(app_dir), scorer).run([copy])["failed"] == 0


def test_scoring_stops_between_two_studies_for_a_more_urgent_job(
    app_dir: Path, scorer: Scorer, studies: list[Study]
) -> None:
    waits = iter([False, True])
    answer = ScoreCases(Scores(app_dir), scorer, should_yield=lambda: next(waits)).run(studies)
    assert answer["gave_way"] and answer["scored"] == 1


def test_a_folder_is_scored_without_a_server(
    app_dir: Path, task: TaskSpec, starter: Path, write_ct: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "studies"
    for seed in range(2):
        path = write_ct(seed, folder=folder)
    write_ct(2, folder=folder, label_folder=folder / "labels" / "final")
    path.write_bytes(b"torn")
    answer = score_folder(app_dir, task, folder, device="cpu", on_progress=lambda _: None)
    assert (answer["scored"], answer["embedded"], answer["failed"]) == (1, 2, 1)
    assert set(answer["cases"]) == {"ct_0", "ct_1"} and set(answer["cases"]["ct_1"]) == {"error"}
    assert answer["cases"]["ct_0"]["all"]["entropy_top"] > 0
    with pytest.raises(SpecError, match="to score cases, name a task of kind"):
        score_folder(app_dir, replace(task, kind="click"), folder, device="cpu", on_progress=lambda _: None)


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert file_stamp(file) == "gone"
    file.write_bytes(b"1")
    before = file_stamp(file)
    file.write_bytes(b"12")
    assert before != file_stamp(file) != "gone"


IMAGES = [f"ct_{number:03d}" for number in range(100)]


def test_all_of_a_small_store_are_scored() -> None:
    assert select_pool(IMAGES, IMAGES[:20], MAKER, 20) == IMAGES[:20]
    assert select_pool(IMAGES, IMAGES, MAKER, 0) == IMAGES


def test_the_pool_of_a_large_store_is_not_changed_by_a_label() -> None:
    first = select_pool(IMAGES, IMAGES, MAKER, 10)
    assert len(first) == 10 and first != IMAGES[:10]
    left = [image for image in IMAGES if image != first[0]]
    assert select_pool(IMAGES, left, MAKER, 10) == first[1:], "no case is added for the one that got its label"
    assert select_pool(IMAGES, IMAGES, replace(MAKER, version="v2"), 10) != first, "the next version draws again"
    rest = [image for image in IMAGES if image not in first]
    assert len(select_pool(IMAGES, rest, MAKER, 10)) == 10, "once the whole pool is labelled, other cases are drawn"
