"""Publishing: every change is a decision of the ledger, aliases follow it, and former bytes come back."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lib.jobs import publish
from lib.jobs.gate import HOLD, PUBLISH, REJECT, Decision
from lib.jobs.publish import SERVER, Shelf, carry_out, promote, register, rollback, rollback_target, settle
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.records.versions import champion, find_version, write_version

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    place = Shelf(tmp_path, "tubes", tmp_path / "model" / "tubes", Ledger.of(tmp_path))
    for number in (1, 2, 3):
        write_version(
            place.root, {"weight": torch.full((4,), float(number))}, {"value": float(number)}, name=f"v{number}"
        )
        register(place, find_version(place.root, f"v{number}"))
    return place


def decide(shelf: Shelf, version: str, verdict: str) -> Decision:
    return carry_out(shelf, version, Decision(verdict, (f"because of {version}",)), against=shelf.served)


def served_bytes(shelf: Shelf) -> bytes:
    version = champion(shelf.root)
    return version.weights_path.read_bytes() if version else b""


def last(shelf: Shelf) -> dict:
    return shelf.ledger.rows("decision", "tubes")[-1].body


def test_a_published_version_serves(shelf: Shelf) -> None:
    assert shelf.served == "starter"
    decide(shelf, "v1", PUBLISH)
    assert (shelf.served, shelf.waiting) == ("v1", "")
    body = last(shelf)
    assert (body["verdict"], body["champion"], body["former"], body["by"]) == ("publish", "v1", "starter", "gate")
    assert body["reasons"] == ["because of v1"]


def test_a_rejected_version_changes_no_byte(shelf: Shelf) -> None:
    decide(shelf, "v1", PUBLISH)
    before = served_bytes(shelf)
    decide(shelf, "v2", REJECT)
    assert served_bytes(shelf) == before and (shelf.served, shelf.waiting) == ("v1", "")
    assert last(shelf)["verdict"] == "reject" and last(shelf)["version"] == "v2"


def test_a_held_version_waits_and_a_word_publishes_it(shelf: Shelf) -> None:
    decide(shelf, "v1", HOLD)
    assert (shelf.served, shelf.waiting) == ("starter", "v1")
    assert promote(shelf, "v1", by="Anna") == "starter"
    assert (shelf.served, shelf.waiting) == ("v1", "") and last(shelf)["by"] == "Anna"
    with pytest.raises(ValueError, match="v1 is served already"):
        promote(shelf, "v1")


def test_a_champion_that_came_meanwhile_holds_the_publication(shelf: Shelf) -> None:
    decide(shelf, "v1", PUBLISH)
    decision = carry_out(shelf, "v2", Decision(PUBLISH, ("no worse",)), against="starter")
    assert decision.verdict == HOLD and "v1 is served by now" in decision.reason
    assert (shelf.served, shelf.waiting) == ("v1", "v2")


def test_rollback_brings_the_former_bytes_back_down_to_the_starter(shelf: Shelf) -> None:
    kept = {}
    for name in ("v1", "v2", "v3"):
        decide(shelf, name, PUBLISH)
        kept[name] = served_bytes(shelf)
    for name in ("v2", "v1"):
        assert rollback(shelf, by="Anna") == name and served_bytes(shelf) == kept[name]
    assert rollback(shelf) == "starter" and champion(shelf.root) is None
    with pytest.raises(ValueError, match="nothing was served before starter"):
        rollback(shelf)


def test_what_a_rollback_would_serve_is_what_it_serves(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="nothing was served before starter"):
        rollback_target(shelf)
    decide(shelf, "v1", PUBLISH)
    decide(shelf, "v2", PUBLISH)
    assert rollback_target(shelf) == "v1" == rollback(shelf) and rollback_target(shelf) == "starter"


def test_without_a_starter_the_first_version_stays(tmp_path: Path, shelf: Shelf) -> None:
    bare = Shelf(shelf.app_dir, shelf.task, shelf.root, shelf.ledger, starter=False)
    decide(bare, "v1", PUBLISH)
    with pytest.raises(ValueError, match="nothing was served before v1"):
        rollback(bare)
    assert bare.served == "v1"


def test_what_fails_goes_and_does_not_come_back_by_itself(shelf: Shelf) -> None:
    for name in ("v1", "v2", "v3"):
        decide(shelf, name, PUBLISH)
    assert rollback(shelf, by=SERVER, reason="NaN", failing="v3") == "v2"
    assert rollback(shelf, by=SERVER, reason="NaN", failing="v3") == "v2", "a late alarm takes nothing else back"
    assert last(shelf)["reasons"] == ["NaN"] and len(shelf.ledger.rows("decision")) == 4
    promote(shelf, "v1")
    assert rollback(shelf, by=SERVER, failing="v1") == "v2", "the word of a person is no failure of v2"
    assert rollback(shelf, by=SERVER, failing="v2") == "starter", "v1 and v3 have failed"
    promote(shelf, "v3")
    assert shelf.served == "v3", "a person may insist"


def test_promotion_of_changed_files_is_refused(shelf: Shelf) -> None:
    path = find_version(shelf.root, "v1").weights_path
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"v1/weights\.safetensors is not as it was recorded"):
        promote(shelf, "v1")
    with pytest.raises(ValueError, match="there are: v1, v2, v3"):
        promote(shelf, "v9")
    assert shelf.served == "starter" and shelf.ledger.rows("decision") == []


def test_a_version_from_before_the_ledger_is_registered_when_it_is_promoted(shelf: Shelf) -> None:
    write_version(shelf.root, {"weight": torch.zeros(1)}, {}, name="old")
    promote(shelf, "old")
    assert shelf.served == "old" and [row for row in shelf.ledger.rows("version") if row.body["version"] == "old"]
    assert not verify(shelf.app_dir).faults


def test_a_decision_that_a_killed_process_left_is_carried_out(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(publish, "settle", lambda _: None)
        decide(shelf, "v1", PUBLISH)
        assert shelf.served == "starter"
        decide(shelf, "v2", HOLD)
    settle(shelf)
    assert (shelf.served, shelf.waiting) == ("v1", "v2"), "the later decision knew of the earlier one"


def test_aliases_without_any_decision_stay(shelf: Shelf) -> None:
    publish.set_alias(shelf.root, "champion", "v2")
    settle(shelf)
    assert shelf.served == "v2"


def test_two_who_decide_at_once_agree_with_the_ledger(shelf: Shelf) -> None:
    def flip(name: str) -> None:
        for _ in range(10):
            decide(shelf, name, PUBLISH)

    threads = [threading.Thread(target=flip, args=(name,)) for name in ("v1", "v2", "v3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(shelf)
    assert shelf.served == last(shelf)["champion"] and shelf.ledger.verify() == []
    assert len(shelf.ledger.rows("decision")) == 30


def test_killed_publishers_leave_one_whole_version_and_a_clean_ledger(shelf: Shelf) -> None:
    command = [sys.executable, "-m", "tests.jobs.publishers", str(shelf.app_dir), "25", "3"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=120)
    assert len(shelf.ledger.rows("decision")) >= 25, "one in every round at least"
