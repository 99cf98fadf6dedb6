"""A process that publishes and rolls back until it is killed; forked, so that imports are shared."""

import os
import random
import signal
import sys
import time
from pathlib import Path

from lib.jobs.gate import HOLD, PUBLISH, REJECT, Decision
from lib.jobs.publish import TaskVersions, apply_decision, apply_last_decision, rollback
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.records.versions import champion, list_versions
from tests.waiting import wait_for


def publish(versions: TaskVersions, seed: int) -> None:
    """Apply random decisions until killed."""
    rng, names = random.Random(seed), [version.name for version in list_versions(versions.root)]
    while True:
        verdict = rng.choice((PUBLISH, PUBLISH, HOLD, REJECT))
        apply_decision(versions, rng.choice(names), Decision(verdict, ("at random",)), compared_with=versions.served)
        if rng.random() < 0.3 and versions.served != "starter":
            rollback(versions)


def check(versions: TaskVersions) -> None:
    """Check that one complete version is served, before and after the last decision is applied."""
    for _ in range(2):
        version = champion(versions.root)
        if version is not None:
            assert version.card["value"] == float(version.weights()["weight"][0])
        apply_last_decision(versions)
    decisions = versions.ledger.rows("decision")
    assert versions.served == (decisions[-1].body["champion"] if decisions else "starter")
    assert verify(versions.app_dir).faults == []


def kill(app_dir: Path, rounds: int, seed: int) -> None:
    """Repeatedly kill a publisher at a random moment and check what it left."""
    rng, versions = random.Random(seed), TaskVersions(app_dir, "tubes", app_dir / "model" / "tubes", Ledger.of(app_dir))
    for number in range(rounds):
        before = versions.ledger.last()
        child = os.fork()
        if child == 0:
            try:
                publish(versions, seed + number)
            finally:
                os._exit(1)
        wait_for(lambda before=before: versions.ledger.last() > before)
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the publisher ended by itself"
        check(versions)


if __name__ == "__main__":
    kill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
