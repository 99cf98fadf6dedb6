"""Strategies of an app read scores, submit the scoring job, report its status, and respect leases."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from monailabel.interfaces.exception import MONAILabelException

from lib.records.database import LedgerUnavailable
from lib.records.leases import Leases
from lib.records.scores import CaseScore
from lib.tasks.app import TopoLabelApp
from lib.tasks.spec import SCORED, TaskSpec, load_app
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies import scorer
from lib.tasks.strategies.case_scores import CaseScores, stamp
from lib.tasks.strategies.scored_strategy import ScoredStrategy
from lib.tasks.strategies.scorer import current_score_source


@pytest.fixture
def cases(
    app: TopoLabelApp,
    app_dir: Path,
    task: TaskSpec,
    starter: Path,
    tmp_path: Path,
    write_ct: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> CaseScores:
    """Four cases with increasing uncertainty and increasing distance of their embeddings."""
    monkeypatch.setattr(scorer, "build_network", lambda *_: pytest.fail("a request must not build a network"))
    for seed in range(1, 4):
        write_ct(seed, folder=tmp_path / "studies")
    app.datastore().refresh()
    found = CaseScores(app_dir, replace(task, scores=ScoreSpec()), app.queue)
    source = current_score_source(app_dir, found.task)
    for index in range(4):
        name, numbers = f"ct_{index}", {"entropy_top": index / 10}
        found.scores.record_image(name, stamp(app.datastore(), name), name)
        found.scores.put(name, source, CaseScore({"all": numbers, "classes": {}}, [float(index**2)]))
    return found


def ask(strategy: ScoredStrategy, app: TopoLabelApp, annotator: str = "Anna", **more: Any) -> dict[str, Any]:
    return strategy({"client_id": annotator, **more}, app.datastore()) or {}


def test_the_answer_has_the_best_case_and_the_status_of_the_scores(
    app: TopoLabelApp, cases: CaseScores, tmp_path: Path
) -> None:
    answer = ask(ScoredStrategy("entropy", Leases(tmp_path, 60.0), cases), app)
    status = {"scored": 4, "of": 4, "pending": False, "ranked_by": "starter"}
    assert answer == {"id": "ct_3", "remaining": 4, **status}
    assert app.queue.jobs.list() == [], "no score is missing"


def test_two_annotators_get_different_cases_and_a_skipped_case_is_free(
    app: TopoLabelApp, cases: CaseScores, tmp_path: Path
) -> None:
    strategy = ScoredStrategy("entropy", Leases(tmp_path, 60.0), cases)
    given = [ask(strategy, app, annotator)["id"] for annotator in ("Anna", "Bert", "Anna", "Bert")]
    assert given == ["ct_3", "ct_2", "ct_1", "ct_3"], "the case that Anna skipped is offered to Bert"


def test_a_leased_case_counts_as_labelled(app: TopoLabelApp, cases: CaseScores, tmp_path: Path) -> None:
    """The embeddings are 0, 1, 4 and 9; their mean is 3.5, so 4 is first; the farthest from 4 is 9, then 0."""
    strategy = ScoredStrategy("diversity", Leases(tmp_path, 60.0), cases)
    assert [ask(strategy, app, annotator)["id"] for annotator in ("Anna", "Bert", "Cleo", "Dora")] == [
        "ct_2",
        "ct_3",
        "ct_0",
        "ct_1",
    ]


def test_missing_scores_submit_one_job_and_studies_are_drawn_meanwhile(
    app: TopoLabelApp, cases: CaseScores, tmp_path: Path
) -> None:
    fresh = CaseScores(cases.app_dir, replace(cases.task, scores=ScoreSpec(samples=7)), app.queue)
    strategy = ScoredStrategy("entropy", Leases(tmp_path, 60.0), fresh)
    answers = [ask(strategy, app, annotator, seed=3) for annotator in ("Anna", "Bert")]
    assert [answer["pending"] for answer in answers] == [True, True] and answers[0]["ranked_by"] == ""
    (job,) = app.queue.jobs.list()
    assert (job.subject, job.origin) == ("tubes_scores", "Anna")
    again = ScoredStrategy("entropy", Leases(tmp_path / "again", 60.0), fresh)
    assert ask(again, app, seed=3)["id"] == answers[0]["id"], "the same seed gives the same draw"


def test_an_unknown_class_is_refused(app: TopoLabelApp, cases: CaseScores, tmp_path: Path) -> None:
    strategy = ScoredStrategy("entropy", Leases(tmp_path, 60.0), cases)
    with pytest.raises(MONAILabelException) as caught:
        ask(strategy, app, label="liver")
    assert "name one of: tube, cavity" in str(caught.value.msg)


def test_a_full_disk_does_not_stop_the_offer(
    app: TopoLabelApp, cases: CaseScores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise LedgerUnavailable(28, "the disk is full")

    leases = Leases(tmp_path, 60.0)
    monkeypatch.setattr(leases, "lease_next", full)
    monkeypatch.setattr(leases, "list_active", full)
    monkeypatch.setattr(app.queue, "submit", full)
    fresh = CaseScores(cases.app_dir, replace(cases.task, scores=ScoreSpec(samples=7)), app.queue)
    assert ask(ScoredStrategy("diversity", leases, fresh), app)["pending"]


def test_app_toml_enables_the_strategies(app_dir: Path, app: TopoLabelApp, tmp_path: Path) -> None:
    toml = app_dir / "app.toml"
    toml.write_text(toml.read_text().replace("[task.train]", "[task.scores]\nsamples = 2\n\n[task.train]"))
    toml.write_text(toml.read_text().replace("[app]", '[app]\nstrategy = "entropy"'))
    assert load_app(app_dir).task("tubes").scores == ScoreSpec(samples=2)
    info = TopoLabelApp(str(app_dir), str(tmp_path / "studies"), {}).info()
    assert list(info["strategies"]) == ["entropy", "random", *(name for name in SCORED if name != "entropy")]
    assert list(info["scoring"]) == ["dice", "tubes_scores"]
