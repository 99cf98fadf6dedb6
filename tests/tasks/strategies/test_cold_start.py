"""The first studies are typical of groups of images; they are drawn while embeddings are missing."""

from pathlib import Path
from typing import Any

import pytest

from lib.records.leases import Leases
from lib.records.scores import CaseScore
from lib.tasks.app import TopoLabelApp
from lib.tasks.serving.weights import NoWeights
from lib.tasks.spec import COLD_START, load_app
from lib.tasks.strategies import cold_start, embedder
from lib.tasks.strategies.case_scores import stamp
from lib.tasks.strategies.cold_start import CaseEmbeddings, ColdStart
from lib.tasks.strategies.draw import RandomUnlabelled
from lib.tasks.strategies.score_cases import ScoreCases
from tests.tasks.click.taught import APP as CLICK_APP

CLICK_BLOCK = CLICK_APP[CLICK_APP.index("[[task]]") :]


@pytest.fixture
def embeddings(app: TopoLabelApp, app_dir: Path, tmp_path: Path, write_ct: Any) -> CaseEmbeddings:
    """Ten studies without embeddings."""
    for seed in range(1, 10):
        write_ct(seed, folder=tmp_path / "studies")
    app.datastore().refresh()
    toml = app_dir / "app.toml"
    toml.write_text(toml.read_text() + CLICK_BLOCK)
    click = load_app(app_dir).cold_start_task
    assert click is not None
    return CaseEmbeddings(app_dir, click, app.queue)


def embed(embeddings: CaseEmbeddings, app: TopoLabelApp, values: dict[int, float]) -> None:
    for index, value in values.items():
        name = f"ct_{index}"
        embeddings.scores.record_image(name, stamp(app.datastore(), name), name)
        embeddings.scores.put(name, embeddings.source(), CaseScore({}, [value, 0.0]))


def make(embeddings: CaseEmbeddings, tmp_path: Path, published: bool = False) -> ColdStart:
    leases = Leases(tmp_path, 60.0)
    return ColdStart(leases, embeddings, RandomUnlabelled(leases), lambda: published)


def ask(strategy: ColdStart, app: TopoLabelApp, annotator: str = "Anna") -> dict[str, Any]:
    return strategy({"client_id": annotator, "seed": 1}, app.datastore()) or {}


def test_without_embeddings_a_job_is_submitted_and_the_answer_says_so(
    app: TopoLabelApp, embeddings: CaseEmbeddings, tmp_path: Path
) -> None:
    answer = ask(make(embeddings, tmp_path), app)
    assert answer["id"] and answer["pending"] and answer["note"].startswith("drawn at random: 0 of 10 studies")
    (job,) = app.queue.jobs.list()
    assert (job.subject, job.origin) == ("sam_embeddings", "Anna")


def test_each_annotator_gets_a_study_of_another_group(
    app: TopoLabelApp, embeddings: CaseEmbeddings, tmp_path: Path
) -> None:
    """Seven single studies and one group of three, 0, 1 and 2, with 1 in its middle."""
    embed(embeddings, app, {0: 0.0, 1: 0.1, 2: 0.2} | {index: 100.0 * index for index in range(3, 10)})
    strategy = make(embeddings, tmp_path)
    answers = [ask(strategy, app, f"annotator {index}") for index in range(8)]
    assert answers[0] == {"id": "ct_1", "remaining": 10, "scored": 10, "of": 10, "pending": False} | {
        "ranked_by": embeddings.source().version
    }
    assert {answer["id"] for answer in answers} == {"ct_1", *(f"ct_{index}" for index in range(3, 10))}
    assert app.queue.jobs.list() == [], "no embedding is missing"


def test_another_strategy_follows_a_published_version(
    app: TopoLabelApp, embeddings: CaseEmbeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_start, "typical_cases", lambda *_: pytest.fail("the other strategy ranks"))
    answer = ask(make(embeddings, tmp_path, published=True), app)
    assert set(answer) == {"id", "remaining"} and app.queue.jobs.list() == []


def test_missing_weights_are_named(
    app: TopoLabelApp, embeddings: CaseEmbeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CaseEmbeddings, "source", no_weights)
    answer = ask(make(embeddings, tmp_path), app)
    assert answer["id"] and "no published weights" in answer["note"]


def no_weights(_: CaseEmbeddings) -> None:
    raise NoWeights("the weights are not installed")


def test_the_job_embeds_every_study_once(
    app: TopoLabelApp, embeddings: CaseEmbeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "SLICES", 1)
    datastore = app.datastore()
    work = ScoreCases(embeddings.scores, embeddings.scorer("cpu"))
    studies = embeddings.studies(datastore, embeddings.source())
    assert work.run(studies[:6])["embedded"] == 6
    answer = ask(make(embeddings, tmp_path), app)
    assert (answer["scored"], answer["pending"]) == (6, True) and "note" not in answer, "half are enough to rank"
    assert work.run(studies)["embedded"] == 10 and not embeddings.status(datastore).pending


def test_the_app_offers_the_strategy_and_its_job(app_dir: Path, app: TopoLabelApp, tmp_path: Path) -> None:
    toml = app_dir / "app.toml"
    toml.write_text(toml.read_text().replace("[app]", f'[app]\nstrategy = "{COLD_START}"') + CLICK_BLOCK)
    info = TopoLabelApp(str(app_dir), str(tmp_path / "studies"), {}).info()
    assert list(info["strategies"]) == [COLD_START, "random"] and "sam_embeddings" in info["scoring"]
