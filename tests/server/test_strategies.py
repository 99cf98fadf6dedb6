"""Strategies over HTTP: they answer at once, queue a scoring job, and rank by its scores afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from lib.jobs.queue.broker import Queue
from lib.jobs.queue.job import DONE, UNFINISHED
from lib.records.leases import Leases
from lib.records.scores import Scores
from lib.tasks.spec import SCORED, load_app
from lib.tasks.strategies.scorer import current_score_source

pytestmark = pytest.mark.server
CASES = 8


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    new_studies: Callable,
) -> Any:
    """A server whose task supports scoring."""
    where = tmp_path_factory.mktemp("strategies")
    app = new_app(where / "app")
    toml = app / "app.toml"
    toml.write_text(toml.read_text().replace("[task.train]", "[task.scores]\nsamples = 2\n\n[task.train]"))
    return launch(command, app, new_studies(where / "studies", CASES), where)


def ask(server: Any, strategy: str, who: str, **more: Any) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/activelearning/{strategy}", json={"client_id": who, **more}, timeout=60)
    assert answer.ok, answer.text
    return answer.json()


def test_a_seed_gives_the_same_studies_in_the_same_order(served: Any) -> None:
    """A repeated request skips a study; in the second run the first simulator still holds a lease."""
    orders = [[ask(served, "random", who, seed=5)["id"] for _ in range(CASES)] for who in ("Sim", "Sam")]
    assert len(set(orders[0])) == CASES and orders[1][: CASES - 1] == orders[0][: CASES - 1]


def test_strategies_use_the_scores_that_a_job_computes(served: Any, wait: Callable) -> None:
    assert set(requests.get(f"{served.url}/info/", timeout=60).json()["strategies"]) == {"random", *SCORED}
    queue = Queue(served.app)
    first = ask(served, "entropy", "Anna")
    assert (first["scored"], first["of"], first["pending"], first["ranked_by"]) == (0, CASES, True, "")
    (job,) = queue.jobs.list()
    assert (job.kind, job.subject, job.origin) == ("scoring", "tubes_scores", "Anna") and job.status in UNFINISHED
    assert requests.get(f"{served.url}/scoring/", timeout=60).json()["id"] == job.id
    assert ask(served, "topology", "Bert")["pending"] and len(queue.jobs.list()) == 1, "submitted once"
    wait(lambda: queue.jobs.get(job.id).status not in UNFINISHED, 120, "the scores")
    job = queue.jobs.get(job.id)
    assert job.status == DONE and job.result["scored"] == CASES, queue.tail(job)

    maker = current_score_source(served.app, load_app(served.app).task("tubes"))
    found = {
        image: score.numbers["all"]["entropy_top"] for image, (_, score) in Scores(served.app).by_image(maker).items()
    }
    taken = {lease.image for lease in Leases(served.app, 60.0).list_active()}
    best = [image for image in sorted(found, key=lambda image: -found[image]) if image not in taken]
    answers = [ask(served, "entropy", who) for who in ("Cleo", "Dora")]
    assert [answer["id"] for answer in answers] == best[:2], "the best two studies without a lease"
    assert all((a["scored"], a["pending"], a["ranked_by"]) == (CASES, False, "starter") for a in answers)
    assert len(queue.jobs.list()) == 1, "no score is missing"


def test_an_admin_starts_scoring_and_waits(served: Any) -> None:
    answer = requests.post(f"{served.url}/scoring/tubes_scores?run_sync=true", json={}, timeout=240)
    assert answer.ok and answer.json().items() >= {"of": CASES, "scored": CASES, "gave_way": False}.items(), answer.text


@pytest.mark.parametrize(
    ("address", "body", "says"),
    [
        ("activelearning/best", {}, "entropy"),
        ("activelearning/entropy", {"label": "liver"}, "name one of: tube, cavity"),
        ("scoring/luck", {}, "tubes_scores"),
    ],
)
def test_an_unknown_strategy_is_refused_with_the_known_names(served: Any, address: str, body: dict, says: str) -> None:
    answer = requests.post(f"{served.url}/{address}", json=body, timeout=60)
    assert 400 <= answer.status_code < 500 and says in answer.text, answer.text
