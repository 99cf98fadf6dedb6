"""A process that publishes and rolls back for ever and is killed at it: forked from one that has the imports."""

import os
import random
import signal
import sys
import time
from pathlib import Path

from lib.jobs.gate import HOLD, PUBLISH, REJECT, Decision
from lib.jobs.publish import Shelf, carry_out, rollback, settle
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.records.versions import champion, list_versions
from tests.waiting import wait_for


def publish(shelf: Shelf, seed: int) -> None:
    """Decide at random, for ever."""
    rng, names = random.Random(seed), [version.name for version in list_versions(shelf.root)]
    while True:
        verdict = rng.choice((PUBLISH, PUBLISH, HOLD, REJECT))
        carry_out(shelf, rng.choice(names), Decision(verdict, ("at random",)), against=shelf.served)
        if rng.random() < 0.3 and shelf.served != "starter":
            rollback(shelf)


def check(shelf: Shelf) -> None:
    """Look at what is served as a server does: before and after it settled, one whole version."""
    for _ in range(2):
        version = champion(shelf.root)
        if version is not None:
            assert version.card["value"] == float(version.weights()["weight"][0])
        settle(shelf)
    decisions = shelf.ledger.rows("decision")
    assert shelf.served == (decisions[-1].body["champion"] if decisions else "starter")
    assert verify(shelf.app_dir).faults == []


def kill(app_dir: Path, rounds: int, seed: int) -> None:
    """Kill a publisher at a random moment, again and again."""
    rng, shelf = random.Random(seed), Shelf(app_dir, "tubes", app_dir / "model" / "tubes", Ledger.of(app_dir))
    for number in range(rounds):
        before = shelf.ledger.last()
        child = os.fork()
        if child == 0:
            try:
                publish(shelf, seed + number)
            finally:
                os._exit(1)
        wait_for(lambda before=before: shelf.ledger.last() > before)
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the publisher ended by itself"
        check(shelf)


if __name__ == "__main__":
    kill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
