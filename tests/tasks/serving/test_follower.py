"""What is served is loaded in the background, once, and let go of."""

import threading
import time
from pathlib import Path

import pytest

from lib.jobs.watch import Watch
from lib.models.sam.foundation import NoFoundation
from lib.tasks.serving import follower as module
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.weights import ServedWeights


class Shelf:
    """Weights that a test serves, and what became of them."""

    def __init__(self) -> None:
        self.served, self.loads, self.changes = "a", [], 0
        self.go = threading.Event()
        self.go.set()

    def weights(self) -> ServedWeights:
        return ServedWeights(self.served, Path(self.served))

    def load(self, served: ServedWeights) -> str:
        self.go.wait()
        self.loads.append(served.name)
        if served.name.startswith("bad"):
            raise NoFoundation("nothing below")
        return f"network {served.name}"

    def changed(self) -> None:
        self.changes += 1


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def follow(shelf: Shelf, watch: Watch | None = None) -> Follower[str]:
    return Follower(shelf.weights, shelf.load, watch or Watch(lambda *_: None), shelf.changed)


def test_it_prepares_once_in_the_background(shelf: Shelf) -> None:
    shelf.go.clear()
    follower = follow(shelf)
    follower.prepare()
    follower.prepare()
    assert shelf.loads == []
    shelf.go.set()
    assert follower.current()[1] == "network a" and shelf.loads == ["a"] and shelf.changes == 0


def test_the_former_answers_while_the_next_is_loaded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    follower = follow(shelf)
    follower.current()
    shelf.go.clear()
    shelf.served = "b"
    assert follower.current()[1] == "network a" and shelf.changes == 0
    shelf.go.set()
    end = time.monotonic() + 10
    while follower.current()[1] == "network a" and time.monotonic() < end:
        time.sleep(0.01)
    assert follower.current()[1] == "network b" and shelf.changes == 1


def test_release(shelf: Shelf) -> None:
    follower = follow(shelf)
    assert not follower.release()
    follower.current()
    assert not follower.release(60) and follower.release() and shelf.changes == 1
    assert follower.current()[1] == "network a" and shelf.loads == ["a", "a"]


def test_a_machine_without_the_weights_below_is_no_fault_of_a_version(shelf: Shelf) -> None:
    alarms: list[str] = []
    shelf.served = "bad"
    follower = follow(shelf, Watch(lambda version, reason: alarms.append(version), limit=1))
    for image in "xyz":
        with pytest.raises(NoFoundation):
            follower.current(image)
    assert alarms == [] and len(shelf.loads) == 3
