"""Which version ranks, which scores are pending, and the single job that computes them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.data.files.atomic import replacing
from lib.jobs.queue.job import DONE, ERROR, STOPPED
from lib.jobs.queue.table import Jobs
from lib.records.scores import CaseScore
from lib.records.versions import write_version
from lib.tasks.app import TopoLabelApp
from lib.tasks.serving.models import promote
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import TaskSpec
from lib.tasks.spec.blocks import ScoreSpec
from lib.tasks.strategies.case_scores import CaseScores, ScoreStatus, stamp
from lib.tasks.strategies.scorer import current_score_source


def number(entropy: float) -> CaseScore:
    return CaseScore({"all": {"entropy_top": entropy}, "classes": {}}, [entropy])


@pytest.fixture
def cases(
    app: TopoLabelApp, app_dir: Path, task: TaskSpec, starter: Path, tmp_path: Path, write_ct: Callable
) -> CaseScores:
    for seed in range(1, 4):
        write_ct(seed, folder=tmp_path / "studies")
    app.datastore().refresh()
    return CaseScores(app_dir, replace(task, scores=ScoreSpec()), app.queue)


@pytest.fixture
def put(app: TopoLabelApp, app_dir: Path, cases: CaseScores) -> Callable[..., None]:
    """Store scores of some cases for the served version or for another version."""

    def put_scores(images: list[str], score: CaseScore = number(0.5), version: str = "") -> None:  # noqa: B008
        source = current_score_source(app_dir, cases.task)
        for image in images:
            cases.scores.record_image(image, stamp(app.datastore(), image), f"sha of {image}")
            cases.scores.put(f"sha of {image}", replace(source, version=version or source.version), score)

    return put_scores


@pytest.fixture
def publish(app_dir: Path, cases: CaseScores) -> Callable[[str], None]:
    def published(name: str) -> None:
        write_version(
            open_task_versions(app_dir, cases.task).root, build_network(cases.task).state_dict(), {}, name=name
        )
        promote(app_dir, "tubes", name)

    return published


def test_scores_rank_once_half_of_the_cases_have_scores(
    app: TopoLabelApp, cases: CaseScores, put: Callable[..., None]
) -> None:
    assert cases.status(app.datastore()).summary == {"scored": 0, "of": 4, "pending": True, "ranked_by": ""}
    put(["ct_0"])
    assert cases.status(app.datastore()).summary == {"scored": 1, "of": 4, "pending": True, "ranked_by": ""}
    put(["ct_1"])
    status = cases.status(app.datastore())
    assert status.summary == {"scored": 2, "of": 4, "pending": True, "ranked_by": "starter"}
    assert set(status.scores) == {"ct_0", "ct_1"}
    put(["ct_2"])
    put(["ct_3"], CaseScore(error="cut off"))
    assert cases.status(app.datastore()).summary["pending"] is False, "a case that cannot be scored is not pending"


def test_an_older_version_ranks_until_the_new_one_has_as_many(
    app: TopoLabelApp, cases: CaseScores, put: Callable[..., None], publish: Callable[[str], None]
) -> None:
    put(["ct_0", "ct_1", "ct_2", "ct_3"], number(0.1))
    publish("v1")
    status = cases.status(app.datastore())
    assert status.summary == {"scored": 0, "of": 4, "pending": True, "ranked_by": "starter"}
    assert status.served == "v1" and status.scores["ct_0"] == number(0.1)
    put(["ct_0", "ct_1", "ct_2"], number(0.2))
    assert cases.status(app.datastore()).summary["ranked_by"] == "starter"
    put(["ct_3"], CaseScore(error="cut off"))
    status = cases.status(app.datastore())
    assert status.summary == {"scored": 4, "of": 4, "pending": False, "ranked_by": "v1"}
    assert status.scores["ct_0"] == number(0.2)


def test_a_replaced_file_has_no_score(
    app: TopoLabelApp, cases: CaseScores, put: Callable[..., None], tmp_path: Path
) -> None:
    put(["ct_0", "ct_1", "ct_2", "ct_3"])
    file = tmp_path / "studies" / "ct_0.nii.gz"
    with replacing(file) as partial:
        partial.write_bytes((tmp_path / "studies" / "ct_1.nii.gz").read_bytes())
    status = cases.status(app.datastore())
    assert (status.scored, status.pending) == (3, True) and "ct_0" not in status.scores


def test_labelled_cases_are_embedded_and_never_pending(
    app: TopoLabelApp, cases: CaseScores, put: Callable[..., None], tmp_path: Path, write_ct: Callable
) -> None:
    label = write_ct(0, folder=tmp_path / "else", label_folder=tmp_path / "labels").name
    app.datastore().save_label("ct_2", str(tmp_path / "labels" / label), DefaultLabelTag.FINAL.value, {})
    assert cases.status(app.datastore()).of == 3
    found = [
        (study.name, study.labelled)
        for study in cases.studies(app.datastore(), current_score_source(app.app_dir, cases.task))
    ]
    assert found == [("ct_0", False), ("ct_1", False), ("ct_3", False), ("ct_2", True)]


def test_one_job_is_submitted_and_none_after_a_failure(app: TopoLabelApp, cases: CaseScores) -> None:
    jobs = app.queue.jobs
    first = cases.submit_missing("starter", origin="Anna")
    assert first is not None and (first.kind, first.subject, first.origin) == ("scoring", "tubes_scores", "Anna")
    again = cases.submit_missing("starter", origin="Bert")
    assert again is not None and again.id == first.id
    end(jobs, first.id, DONE)
    for status, version in ((ERROR, "starter"), (STOPPED, "v1")):
        job = cases.submit_missing(version, origin="")
        assert job is not None and job.request == {"method": "tubes_scores", "version": version}
        end(jobs, job.id, status)
        assert cases.submit_missing(version, origin="") is None, "a person must submit the next job for this version"


def end(jobs: Jobs, name: str, status: str) -> None:
    jobs.claim(name)
    jobs.finish(name, status)


def test_a_new_version_is_scored_automatically_once(
    app: TopoLabelApp, cases: CaseScores, publish: Callable[[str], None], put: Callable[..., None]
) -> None:
    assert cases.submit_for_new_version() is None, "the starter is scored only on request"
    publish("v1")
    job = cases.submit_for_new_version()
    assert job is not None and job.origin == "policy" and job.request["version"] == "v1"
    assert cases.submit_for_new_version() is None
    app.queue.jobs.claim(job.id)
    app.queue.jobs.finish(job.id, DONE)
    assert cases.submit_for_new_version() is None
    publish("v2")
    put(["ct_0"])
    assert cases.submit_for_new_version() is None, "the version already has scores"


def test_without_weights_there_are_no_scores(app: TopoLabelApp, app_dir: Path, task: TaskSpec) -> None:
    cases = CaseScores(app_dir, replace(task, scores=ScoreSpec()), app.queue)
    assert cases.status(app.datastore()) == ScoreStatus("", {}, "", 0, 0) and cases.submit_for_new_version() is None
