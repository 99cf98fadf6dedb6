"""The served version is loaded once in the background, replaced by the next one and released."""

import threading
import time
from pathlib import Path

import pytest

from lib.jobs.failure_watch import Watch
from lib.models.sam.foundation import NoFoundation
from lib.tasks.serving import follower as module
from lib.tasks.serving.follower import Follower
from lib.tasks.serving.weights import ServedWeights


class Source:
    """Source of served weights, which records loads and changes."""

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
            raise NoFoundation("no foundation weights")
        return f"network {served.name}"

    def changed(self) -> None:
        self.changes += 1


@pytest.fixture
def source() -> Source:
    return Source()


def make_follower(source: Source, watch: Watch | None = None) -> Follower[str]:
    return Follower(source.weights, source.load, watch or Watch(lambda *_: None), source.changed)


def test_preparing_loads_once_in_the_background(source: Source) -> None:
    source.go.clear()
    follower = make_follower(source)
    follower.prepare()
    follower.prepare()
    assert source.loads == []
    source.go.set()
    assert follower.current()[1] == "network a" and source.loads == ["a"] and source.changes == 0


def test_the_former_version_is_used_while_the_next_is_loaded(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOAD_WAIT_SECONDS", 0.01)
    follower = make_follower(source)
    follower.current()
    source.go.clear()
    source.served = "b"
    assert follower.current()[1] == "network a" and source.changes == 0
    source.go.set()
    end = time.monotonic() + 10
    while follower.current()[1] == "network a" and time.monotonic() < end:
        time.sleep(0.01)
    assert follower.current()[1] == "network b" and source.changes == 1


def test_an_idle_version_is_released_and_loaded_again(source: Source) -> None:
    follower = make_follower(source)
    assert not follower.release()
    follower.current()
    assert not follower.release(60) and follower.release() and source.changes == 1
    assert follower.current()[1] == "network a" and source.loads == ["a", "a"]


def test_missing_foundation_weights_are_not_counted_as_a_failure_of_the_version(source: Source) -> None:
    alarms: list[str] = []
    source.served = "bad"
    follower = make_follower(source, Watch(lambda version, reason: alarms.append(version), limit=1))
    for image in "xyz":
        with pytest.raises(NoFoundation):
            follower.current(image)
    assert alarms == [] and len(source.loads) == 3
